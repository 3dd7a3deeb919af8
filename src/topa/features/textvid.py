"""The features that TOPA's authors published with TextVid, as a feature store.

Reads `features/{idx}.pkl`, pickled tensors with a row for each caption. A pickle can execute anything, so it is
opened here by an unpickler that knows how to rebuild a tensor and nothing else.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from ..core.errors import InputError
from ..tideos.drop_counts import DropCounts
from ..tideos.jsonl import write_jsonl
from ..tideos.tideo import Tideo
from .frames import FrameFeatures
from .fusion import fuse
from .store import FeatureStore, FeatureStoreWriter

WIDTH = 768
_ZIP = b"PK"  # what torch.save writes; pickle.dump never begins so


def read_tensor(path: Path, width: int = WIDTH) -> Tensor:
    """The tensor [N, width] of a `.pkl` file, as pickle.dump or torch.save wrote it, on the CPU, in its float type.

    Nothing in the file can execute. Raises InputError where it is anything but one such tensor of finite rows,
    none of them zero.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            tensor = torch.load(file, map_location="cpu", weights_only=True) if zipped else _Tensors(file).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(
            f"{path}: can't be read safely as a tensor: {error}. Expected a pickled tensor [rows, {width}]. "
            "Download it again."
        ) from error
    if not isinstance(tensor, Tensor) or tensor.ndim != 2 or tensor.shape[1] != width or not tensor.is_floating_point():
        shape = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise InputError(f"{path}: found {shape}; expected a pickled tensor of floats [rows, {width}].")
    # Strides of 0 let some bytes claim to be terabytes.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(f"{path}: found {tuple(tensor.shape)} with fewer values than that. Download it again.")
    norms = torch.linalg.vector_norm(tensor, dim=-1, dtype=torch.promote_types(tensor.dtype, torch.float32))
    if not ((norms > 0) & norms.isfinite()).all():
        raise InputError(f"{path}: found rows that are zero, infinite or NaN; expected features. Download it again.")
    return tensor.detach()


def import_features(
    tideos: Iterable[Tideo],
    folder: Path,
    out: Path,
    encoder: str,
    tally: DropCounts,
    *,
    width: int = WIDTH,
    also: Path | None = None,
) -> FeatureStore:
    """A store of one unit row for each frame of each Tideo: the mean of the unit rows of its captions.

    folder: holds `{id}.pkl`, a row for each key of each frame. encoder: whose space they are in.
    tally: counts the Tideos whose features are missing, damaged or don't fit; these are not in the store.
    also: where to write those that are in it, as JSON Lines.
    Raises InputError where not one could be read, OutputError where `out` can't be written.
    """
    writer = FeatureStoreWriter(out, encoder, width, "text")
    added = _added(tideos, folder, writer, encoder, tally, width)
    count = write_jsonl(added, also) if also else sum(1 for _ in added)
    if not count:
        raise InputError(
            f"{folder}: found features of none of the Tideos ({'; '.join(tally.lines()) or 'there are none'}); "
            "expected a file IDX.pkl for each. Name the folder that holds them."
        )
    left_out = sum(n for reason, n in tally.counts.items() if reason.startswith("features: "))
    return writer.close(config={"fusion": "mean", "imported": "textvid", "left_out": left_out})


def _added(
    tideos: Iterable[Tideo], folder: Path, writer: FeatureStoreWriter, encoder: str, tally: DropCounts, width: int
) -> Iterator[Tideo]:
    for tideo in tideos:
        path = folder / f"{tideo.id}.pkl"
        # An id is a name from a file of others: it must not lead out of the folder.
        if Path(tideo.id).name != tideo.id or not path.is_file():
            tally.add("features: missing", tideo.id)
            continue
        try:
            rows = read_tensor(path, width)
        except InputError as error:
            tally.add("features: damaged", f"{tideo.id} ({error})")
            continue
        counts = tideo.source.get("textvid", {}).get("rows") or [1 + len(frame.objects) for frame in tideo.frames]
        if len(rows) != sum(counts):
            tally.add("features: rows don't fit the captions", f"{tideo.id} ({len(rows)} for {sum(counts)})")
            continue
        values = fuse(rows.float(), counts)
        writer.add(FrameFeatures.text(values, encoder), tideo.id)
        yield tideo


class _Tensors(pickle.Unpickler):
    """Rebuilds tensors. Every name that isn't needed for that is refused before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        # Fresh functions: a pickle may set attributes of what it is handed, and must not reach torch's own.
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, size, stride, *_: _rebuild(
                storage, offset, size, stride
            ),
            ("torch.storage", "_load_from_bytes"): lambda data: _storage(data),
            # How old pickle protocols spell bytes.
            ("_codecs", "encode"): lambda text, *_: str(text).encode("latin-1"),
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor needs")
        return known[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to data outside the file")


def _storage(data: bytes) -> Any:
    """A pickled storage is itself a file of torch's, inside: read by torch's own restricted unpickler."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _rebuild(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"found {type(storage).__name__}; expected the storage of a tensor")
    raw, empty = storage._untyped_storage, torch.empty(0, dtype=storage.dtype)
    # torch would enlarge a storage that is too small, by values that nobody wrote.
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride) < 0 or (last + 1) * empty.element_size() > raw.nbytes():
        raise pickle.UnpicklingError(f"a tensor {tuple(size)} in a storage of {raw.nbytes()} bytes")
    return empty.set_(raw, offset, size, stride)
