"""Frame features that others have published for a benchmark's videos: `clipvitl14.pth`, or `features/{video}.npy`.

The first is one dictionary of tensors [T, width] by video, as Flipped-VQA and TOPA published it for NExT-QA, STAR and
TVQA; it is mapped, not loaded, where its format allows. The second is a file for each video, as TOPA published it for
EgoSchema. Either is read so that nothing in it can execute.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import InputError
from ..features.frames import FrameFeatures
from .example import Example

FILE = "clipvitl14.pth"
FOLDER = "features"
WIDTH = 768
_NEXT = "Download it again, or encode the videos: leave the released features out."

Rows = Callable[[Example, int], slice]
"""Which rows of a video's features an example is about, of how many."""


class PublishedFeatures:
    """Released features of one benchmark. path: the `.pth` file, the folder of `.npy` files, or the folder that one of
    them is in. encoder: the identity of the encoder that made them; width: of its space.

    Raises InputError where there are none, or the file is anything but a dictionary of tensors.
    """

    def __init__(self, path: Path, encoder: str, width: int = WIDTH) -> None:
        self._encoder = encoder
        self._width = width
        self._tensors: dict[str, Any] | None = None
        self.path = _found(path)
        if self.path.is_file():
            self._tensors = _dictionary(self.path)

    def __contains__(self, video: object) -> bool:
        return (self._tensors is not None and video in self._tensors) or self._file(str(video)) is not None

    def features(self, example: Example, rows: Rows) -> FrameFeatures:
        """The rows that an example is about, in image space, each of unit length. rows: `Benchmark.rows`.

        Raises InputError with the reason where there are none, or they aren't finite rows [T, width] other than zero.
        """
        where, found = self._rows(example.video)
        if found.ndim != 2 or found.shape[1] != self._width or not len(found) or not found.is_floating_point():
            raise InputError(
                f"{where}: found {found.dtype} {tuple(found.shape)}; expected floats [frames, {self._width}]. {_NEXT}"
            )
        part = rows(example, len(found))
        values = found[part].float()
        if not len(values):
            raise InputError(
                f"{where}: found {len(found)} rows, none of them from {part.start} to {part.stop}; expected some for "
                f"the question's part ({example.start} to {example.end} s). {_NEXT}"
            )
        norms = torch.linalg.vector_norm(values, dim=-1)
        if not ((norms > 0) & norms.isfinite()).all():
            raise InputError(f"{where}: found rows that are zero, infinite or NaN; expected features. {_NEXT}")
        unit = F.normalize(values, dim=-1)
        return FrameFeatures.image(unit, self._encoder)

    def _rows(self, video: str) -> tuple[str, Tensor]:
        where = f"{self.path}: {video}"
        if self._tensors is not None:
            tensor = self._tensors.get(video)
            if tensor is None:
                raise InputError(f"{where}: found no features of this video. {_NEXT}")
            if not isinstance(tensor, Tensor):
                raise InputError(f"{where}: found {type(tensor).__name__}; expected a tensor. {_NEXT}")
            # Strides of 0 let some bytes claim to be terabytes.
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise InputError(f"{where}: found {tuple(tensor.shape)} with fewer values than that. {_NEXT}")
            return where, tensor
        file = self._file(video)
        if file is None:
            raise InputError(f"{where}: found no features of this video ({video}.npy). {_NEXT}")
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
            # A copy: pages of a mapped file can't be written, and torch warns of such arrays.
            return str(file), torch.from_numpy(np.array(array))
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise InputError(
                f"{file}: can't be read as an array ({error}); expected floats [frames, {self._width}]. {_NEXT}"
            ) from error

    def _file(self, video: str) -> Path | None:
        # A name from a file of others must not lead out of the folder.
        if self._tensors is not None or Path(video).name != video or "\0" in video:
            return None
        path = self.path / f"{video}.npy"
        return path if path.is_file() else None


def is_released(path: Path) -> bool:
    """Whether a file or a folder holds released features."""
    try:
        _found(path)
    except InputError:
        return False
    return True


def _found(path: Path) -> Path:
    if path.is_file():
        return path
    looked = [path / FILE, path / FOLDER / FILE, path / FOLDER, path]
    for place in looked[:2]:
        if place.is_file():
            return place
    for place in looked[2:]:
        if place.is_dir() and any(own.suffix == ".npy" for own in place.iterdir()):
            return place
    raise InputError(
        f"{path}: found no released features; expected {FILE}, or {FOLDER}/ with a .npy file for each video. Name the "
        "folder that holds them."
    )


def _dictionary(path: Path) -> dict[str, Any]:
    from ..models.meta import load_legacy

    found: Any = load_legacy(path)
    if not isinstance(found, dict) or not found:
        raise InputError(f"{path}: found {type(found).__name__}; expected a dictionary of tensors by video. {_NEXT}")
    return {str(name): value for name, value in found.items()}
