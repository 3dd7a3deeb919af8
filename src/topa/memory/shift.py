"""The mean shift: image features moved by what lies between the means of text and of the pictures of one camera.

Measured once from videos without labels, applied before the projection. It takes away what all pictures of a camera
share, such as darkness or noise, and leaves what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.nn.functional import normalize

from ..core.artifacts import write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, InputError
from ..features.frames import FrameFeatures
from .bank import MemoryBank
from .gap import centroid

FEWEST = 30
"""Videos that a shift is measured from, at least: the mean of fewer tells what they show (docs/log.md)."""


@dataclass(frozen=True, slots=True)
class Shift:
    """offset: float32 [D], the mean of text features minus that of image features; encoder: whose features."""

    offset: Tensor
    encoder: str

    def move(self, frames: FrameFeatures) -> FrameFeatures:
        """Image features, moved, unit rows again; padding stays zero.

        Source: arXiv 2603.29080 (moving one modality to the other's mean); C3 (arXiv 2401.08567) centres both.
        Raises ArtifactMismatch for features of another encoder, or outside image space.
        """
        if frames.encoder != self.encoder or frames.space != "image":
            raise ArtifactMismatch(
                f"mean shift: measured on images of {self.encoder}; found {frames.space} features of {frames.encoder}. "
                "Measure it again with the encoder in use: topa accustom VIDEOS --model MODEL --out DIR"
            )
        moved = normalize(frames.values + self.offset, dim=-1).masked_fill(~frames.valid[:, None], 0)
        return replace(frames, values=moved)

    def save(self, path: Path) -> None:
        """Write it. Raises OutputError where that fails."""
        write_atomically(path, to_bytes({"offset": self.offset.contiguous()}, {"encoder": self.encoder}))

    @classmethod
    def load(cls, path: Path) -> Shift:
        """Read what `save` wrote. Raises ArtifactError where there is nothing of that kind."""
        try:
            with safe_open(path, framework="pt") as file:
                return cls(file.get_tensor("offset"), file.metadata()["encoder"])
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{path}: can't be read ({error}); expected a mean shift. Measure it again: topa "
                "accustom VIDEOS --model MODEL --out DIR"
            ) from error


def few(videos: int) -> InputError:
    """The error for fewer videos than a shift can be measured on."""
    return InputError(
        f"mean shift: found {videos} videos with frames; expected {FEWEST} or more, as the mean of fewer tells what "
        "they show and not how the camera sees. Give more, or go without."
    )


def measure_shift(videos: Sequence[FrameFeatures], memory: MemoryBank) -> Shift:
    """The shift from the pictures of these videos to the rows of a memory.

    videos: image features of `FEWEST` or more videos of one camera, or one kind, that show all sorts of things. Raises
    InputError for fewer, or videos without frames, ArtifactMismatch as `MemoryBank.expect` does.
    """
    for video in videos:
        memory.expect(video)
    shown = [video.values[video.valid] for video in videos if bool(video.valid.any())]
    if len(shown) < FEWEST:
        raise few(len(shown))
    return Shift((centroid(memory.values) - centroid(torch.cat(shown))).float(), memory.encoder)
