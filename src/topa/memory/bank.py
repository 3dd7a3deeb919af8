"""The memory bank: text features, with the captions they came from.

Made from a text-space feature store (`build`); read by the engine to carry image features into text space, and to
say in words what a frame was read as.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..core.arrays import map_arrays, write_arrays
from ..core.artifacts import MANIFEST, Manifest, finish, output_folder, read_manifest, remove, write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, InputError
from ..core.string_table import StringTable
from ..features.frames import FrameFeatures
from ..features.store import FeatureStore
from .projection import explain, project

VALUES, CAPTIONS = "memory.safetensors", "captions.safetensors"
FILES = (VALUES, CAPTIONS, MANIFEST)
"""What `MemoryBank.save` writes."""
_READ = 1 << 13  # rows that are read from a store together


@dataclass(frozen=True, slots=True)
class Reading:
    """What one frame was read as: the nearest captions of the memory and their weights, largest first."""

    captions: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """values: [M, D] unit rows in text space, float16 (float32 where it was built from features); captions: M texts or
    None.

    What `load` gives stays on the disk until it is touched. hash: what the values are known by; "" to have it computed
    from them.
    """

    values: Tensor
    encoder: str
    captions: Sequence[str] | None = None
    hash: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not len(self.values):
            raise InputError(f"memory: found values of shape {tuple(self.values.shape)}; expected [M, D] with M > 0.")
        if self.captions is not None and len(self.captions) != len(self.values):
            raise InputError(f"memory: found {len(self.captions)} captions for {len(self.values)} rows.")

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device) -> MemoryBank:
        """The same with its values on a device, where projections are computed then; features stay where they are."""
        return replace(self, values=self.values.to(device))

    def project(self, frames: FrameFeatures, temperature: float) -> FrameFeatures:
        """Image features in text space. Raises ArtifactMismatch for another encoder's, or for text features."""
        self.expect(frames)
        values = self._project(frames.values, frames.valid, temperature)
        return FrameFeatures(values, frames.valid, "projected", frames.encoder, frames.times)

    def project_all(
        self, videos: Sequence[FrameFeatures], temperature: float, cache: Path | None = None
    ) -> list[FrameFeatures]:
        """Many videos in one pass over the memory; equal to `project` of each.

        cache: a folder that keeps the result, under a hash of memory, temperature and features, for the next call.
        Raises as `project` does, and OutputError where the cache can't be written.
        """
        for video in videos:
            self.expect(video)
        if not videos:
            return []
        values = torch.cat([video.values for video in videos])
        valid = torch.cat([video.valid for video in videos])
        kept = None if cache is None else cache / f"{self._key(values, valid, temperature)}.safetensors"
        projected = None if kept is None else _cached(kept)
        if projected is None:
            projected = self._project(values, valid, temperature)
            if kept is not None:
                output_folder(kept.parent)
                write_atomically(kept, to_bytes({"values": projected}), "arrays")
        parts = torch.split(projected, [len(video) for video in videos])
        return [
            FrameFeatures(part, video.valid, "projected", video.encoder, video.times)
            for part, video in zip(parts, videos, strict=True)
        ]

    def _project(self, values: Tensor, valid: Tensor, temperature: float) -> Tensor:
        device = self.values.device
        return project(values.to(device), self.values, temperature, valid.to(device)).to(values.device)

    def _key(self, values: Tensor, valid: Tensor, temperature: float) -> str:
        known = self.hash or hashlib.sha256(self.values.half().cpu().numpy().tobytes()).hexdigest()
        digest = hashlib.sha256(f"{known} {temperature} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes() + valid.numpy().tobytes())
        return digest.hexdigest()[:32]

    def read(self, frames: FrameFeatures, temperature: float, top: int = 3) -> list[Reading]:
        """For every frame the captions that it was read as. Rows of the same caption are added up."""
        self.expect(frames)
        if self.captions is None:
            raise InputError("memory: has no captions. Build it again from Tideos to have readings in words.")
        weights, rows = explain(frames.values.to(self.values.device), self.values, temperature, min(8 * top, len(self)))
        readings = []
        for frame_weights, frame_rows in zip(weights.tolist(), rows.tolist(), strict=True):
            added: dict[str, float] = {}
            for weight, row in zip(frame_weights, frame_rows, strict=True):
                added[self.captions[row]] = added.get(self.captions[row], 0.0) + weight
            best = sorted(added.items(), key=lambda item: -item[1])[:top]
            readings.append(Reading(tuple(c for c, _ in best), tuple(w for _, w in best)))
        return readings

    def expect(self, frames: FrameFeatures) -> None:
        """Refuse features of another encoder, another width, or of text space."""
        if frames.encoder != self.encoder or frames.width != self.values.shape[1]:
            raise ArtifactMismatch(
                f"memory: rows are of {self.encoder} ({self.values.shape[1]} wide), the features of {frames.encoder} "
                f"({frames.width} wide). Encode the videos again: topa encode VIDEO --encoder ENCODER --out DIR"
            )
        if frames.space != "image":
            raise ArtifactMismatch(
                f"memory: found features in {frames.space} space; expected image space. Nothing to project."
            )

    def save(self, folder: Path) -> Manifest:
        """Write values (fp16) and captions, manifest last."""
        output_folder(folder, *FILES)
        remove(folder / MANIFEST)  # what stood here before is unfinished from now on
        # Whole or not at all, as a memory may be saved over the files that it is mapped from.
        write_arrays(folder / VALUES, {"values": self.values.detach().cpu().half().contiguous().numpy()})
        files = [VALUES]
        if self.captions is not None:
            write_arrays(folder / CAPTIONS, StringTable.of(self.captions).arrays())
            files.append(CAPTIONS)
        manifest = Manifest(
            kind="memory",
            encoder=self.encoder,
            width=self.values.shape[1],
            normalised=True,
            counts={"rows": len(self)},
        )
        return finish(folder, manifest, files)

    @classmethod
    def load(cls, folder: Path) -> MemoryBank:
        """Read what `save` wrote. Raises ArtifactError where the folder is not a finished memory."""
        manifest = read_manifest(folder, "memory")
        try:
            with safe_open(folder / VALUES, framework="pt") as file:
                values = file.get_tensor("values")
            told = None
            if CAPTIONS in manifest.files:  # one that isn't named belongs to an older memory
                told = StringTable.from_arrays(map_arrays(folder / CAPTIONS).arrays)
            bank = cls(values, manifest.encoder or "", told, manifest.files[VALUES])
        except (OSError, SafetensorError, ValueError, KeyError, InputError) as error:
            raise ArtifactError(
                f"{folder}: found a memory that is damaged ({error}). Build the memory again."
            ) from error
        return bank


def _cached(path: Path) -> Tensor | None:
    """What `project_all` kept; None where there is nothing, or it is damaged."""
    try:
        return load_file(path)["values"]
    except (OSError, SafetensorError, KeyError):
        return None


def build(
    features: Sequence[FrameFeatures], captions: Sequence[Sequence[str]] | None, rows: int, seed: int
) -> MemoryBank:
    """A memory of at most `rows` frames, drawn without replacement. `captions[i][t]` belongs to features[i], frame t.

    Raises InputError where there is nothing to draw from, or features are not of text space, ArtifactMismatch where
    they are of several encoders.
    """
    if not features:
        raise InputError("memory: no features to build it from. Encode Tideos first: topa encode TIDEOS --out DIR")
    if any(f.space != "text" for f in features):
        raise InputError(
            "memory: found features outside text space; expected text features. Encode Tideos, not videos."
        )
    if len(encoders := {f.encoder for f in features}) > 1:
        raise ArtifactMismatch(
            f"memory: found features of {len(encoders)} encoders: {', '.join(sorted(encoders))}; expected one. "
            "Encode all Tideos with the same: topa encode TIDEOS --encoder ENCODER --out DIR"
        )
    places = [(i, int(t)) for i, f in enumerate(features) for t in torch.nonzero(f.valid).flatten()]
    if rows < 1 or not places:
        raise InputError(f"memory: asked for {rows} rows of {len(places)} frames; expected one or more of each.")
    chosen = sorted(random.Random(seed).sample(places, min(rows, len(places))))
    values = torch.stack([features[i].values[t] for i, t in chosen])
    told = None if captions is None else tuple(captions[i][t] for i, t in chosen)
    return MemoryBank(values, features[0].encoder, told)


def build_from_store(
    store: FeatureStore,
    rows: int,
    seed: int,
    *,
    ids: Sequence[str] | None = None,
    captions: Callable[[str], Sequence[str]] | None = None,
    near: float | None = None,
) -> MemoryBank:
    """A memory of at most `rows` frames of a store, drawn without replacement; only these are read, in their order.

    ids: draw among these items only. captions: gives the captions of an item's frames. near: of rows whose cosine is
    this or more, leave all but one out; see `topa.memory.near`. The same seed gives the frames that `build` draws of
    the same features in the same order. Values are float16.
    Raises ArtifactMismatch for a store outside text space, InputError where there is nothing to draw from, for unknown
    ids, for rows that are no unit rows, and where captions don't fit the frames.
    """
    if store.space != "text":
        raise ArtifactMismatch(
            f"{store.path}: holds features of {store.space} space; expected text space, as a memory is made of "
            f"captions. Encode Tideos: topa encode TIDEOS --encoder ENCODER --out DIR"
        )
    names = store.ids if ids is None else ids
    ends = np.cumsum(store.lengths(ids), dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if rows < 1 or not total:
        raise InputError(f"{store.path}: asked for {rows} rows of {total} frames; expected one or more of each.")
    chosen = np.array(sorted(random.Random(seed).sample(range(total), min(rows, total))), np.int64)
    items = np.searchsorted(ends, chosen, side="right")
    frames = chosen - np.where(items > 0, ends[items - 1], 0)
    values = torch.empty(len(chosen), store.width, dtype=torch.float16)
    for start in range(0, len(chosen), _READ):
        part = slice(start, start + _READ)
        values[part] = store.pick([names[i] for i in items[part].tolist()], frames[part].tolist())
    if near is not None:
        from .near import distinct

        kept = torch.from_numpy(distinct(values, near, seed))
        values, items, frames = values[kept], items[kept.numpy()], frames[kept.numpy()]
    told = (
        None if captions is None else StringTable.of(_captions(store, names, items.tolist(), frames.tolist(), captions))
    )
    return MemoryBank(values, store.encoder, told)


def _captions(
    store: FeatureStore,
    names: Sequence[str],
    items: list[int],
    frames: list[int],
    captions: Callable[[str], Sequence[str]],
) -> Iterator[str]:
    """The captions of frames that are sorted by item; each item is asked for once."""
    before = -1
    own: Sequence[str] = ()
    for item, frame in zip(items, frames, strict=True):
        if item != before:
            before, own = item, captions(names[item])
            if len(own) != store.length(names[item]):
                raise InputError(
                    f"{store.path}: {names[item]!r} has {store.length(names[item])} frames, its Tideo {len(own)}; "
                    "expected the Tideos that were encoded. Name their file with --tideos."
                )
        yield own[frame]
