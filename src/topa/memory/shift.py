"""Domain adaptation by a mean shift: image features are moved so that their mean becomes that of the memory.

Measured once on unlabelled videos of one camera, applied before the projection. It removes what all pictures of a
camera share, such as darkness or noise, and leaves what they show.
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

MIN_VIDEOS = 30
"""Fewest videos to measure a shift on: the mean of fewer reflects what they show (docs/log.md)."""
_CHUNK = 1 << 16  # rows in double precision at a time


@dataclass(frozen=True, slots=True)
class MeanShift:
    """offset: float32 [D], the mean of text features minus that of image features; encoder: whose features."""

    offset: Tensor
    encoder: str

    def move(self, frames: FrameFeatures) -> FrameFeatures:
        """Move image features, and scale them to unit rows again; padding stays zero.

        Source: arXiv 2603.29080 (moving one modality to the other's mean); C3 (arXiv 2401.08567) centres both.
        Raises ArtifactMismatch for features of another encoder, or outside image space.
        """
        if frames.encoder != self.encoder or frames.space != "image":
            raise ArtifactMismatch(
                f"mean shift: measured on images of {self.encoder}; found {frames.space} features of {frames.encoder}. "
                "Measure it again with the encoder in use: topa adapt VIDEOS --model MODEL --out DIR"
            )
        values = normalize(frames.values + self.offset, dim=-1).masked_fill(~frames.valid[:, None], 0)
        return replace(frames, values=values)

    def save(self, path: Path) -> None:
        """Write the shift to a file. Raises OutputError where that fails."""
        write_atomically(path, to_bytes({"offset": self.offset.contiguous()}, {"encoder": self.encoder}))

    @classmethod
    def load(cls, path: Path) -> MeanShift:
        """Read a file of `save`. Raises ArtifactError where it isn't one."""
        try:
            with safe_open(path, framework="pt") as file:
                return cls(file.get_tensor("offset"), file.metadata()["encoder"])
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{path}: can't be read ({error}); expected a mean shift. Measure it again: topa "
                "adapt VIDEOS --model MODEL --out DIR"
            ) from error


def too_few_videos(videos: int) -> InputError:
    """Return the error for fewer videos than a shift can be measured on."""
    return InputError(
        f"mean shift: found {videos} videos with frames; expected {MIN_VIDEOS} or more, as the mean of fewer tells "
        "what they show and not how the camera sees. Give more, or go without."
    )


def measure_shift(videos: Sequence[FrameFeatures], memory: MemoryBank) -> MeanShift:
    """Measure the shift from the pictures of these videos to the rows of a memory.

    videos: image features of `MIN_VIDEOS` or more videos of one camera, or one kind, with varied content. Raises
    InputError for fewer, or videos without frames, ArtifactMismatch as `MemoryBank.expect` does.
    """
    for video in videos:
        memory.expect(video)
    images = [video.values[video.valid] for video in videos if bool(video.valid.any())]
    if len(images) < MIN_VIDEOS:
        raise too_few_videos(len(images))
    return MeanShift((centroid(memory.values) - centroid(torch.cat(images))).float(), memory.encoder)


def centroid(rows: Tensor) -> Tensor:
    """Return the mean of rows [N, D] of any float type, computed in chunks: float64 [D]."""
    return torch.stack([chunk.double().sum(dim=0) for chunk in torch.split(rows, _CHUNK)]).sum(dim=0) / len(rows)
