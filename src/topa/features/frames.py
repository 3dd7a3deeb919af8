"""The value that travels between encoders, memory and model: features of the frames of one (textual) video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..core.errors import InputError

Space = Literal["text", "image", "projected"]


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """Features of T frames in order of time.

    values: float32 [T, D], unit rows where `valid`. times: float64 [T] seconds, or None for text.
    valid: bool [T]; a row that is not valid is padding, zero, and never a feature.
    space: which side of CLIP the rows live on; "projected" are image rows expressed in text space.
    encoder: the identity of the encoder that made them (`Encoder.identity`).
    """

    values: Tensor
    valid: Tensor
    space: Space
    encoder: str
    times: Tensor | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.valid.shape != self.values.shape[:1]:
            raise InputError(
                f"frame features: found values {tuple(self.values.shape)} and valid {tuple(self.valid.shape)}; "
                "expected [T, D] and [T]."
            )
        norms = torch.linalg.vector_norm(self.values, dim=-1)
        if not (((norms - 1).abs() <= 1e-2) | ~self.valid).all():  # NaN compares false, and so fails
            raise InputError("frame features: found NaN, infinite or non-unit rows; expected unit rows. Encode again.")

    @classmethod
    def unpadded(cls, values: Tensor, space: Space, encoder: str, times: Tensor | None = None) -> FrameFeatures:
        """Make features without padding: every row is a frame."""
        return cls(values, torch.ones(len(values), dtype=torch.bool), space, encoder, times)

    @classmethod
    def image(cls, values: Tensor, encoder: str, times: Tensor | None = None) -> FrameFeatures:
        """Make features of pictures, without padding."""
        return cls.unpadded(values, "image", encoder, times)

    @classmethod
    def text(cls, values: Tensor, encoder: str) -> FrameFeatures:
        """Make features of captions, without padding."""
        return cls.unpadded(values, "text", encoder)

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """D, the width of the encoder's space."""
        return self.values.shape[1]

    def take(self, numbers: Tensor) -> FrameFeatures:
        """Select frames by their numbers, int64 [N], in this order."""
        times = None if self.times is None else self.times[numbers]
        return replace(self, values=self.values[numbers], valid=self.valid[numbers], times=times)

    def resample(self, frames: int) -> FrameFeatures:
        """Resample to exactly `frames` frames: (j*n)//frames of the n valid ones; fewer are padded with invalid rows.

        Source: TOPA, released code (sampling of textual frames). Padding is masked here, there it is not.
        """
        have = torch.nonzero(self.valid).flatten()
        n = len(have)
        if n == frames and n == len(self):
            return self
        if n >= frames:
            return self.take(have[torch.arange(frames) * n // frames])
        values = self.values.new_zeros(frames, self.width)
        values[:n] = self.values[have]
        times = None
        if self.times is not None:
            times = self.times.new_full((frames,), float("nan"))
            times[:n] = self.times[have]
        return replace(self, values=values, valid=torch.arange(frames) < n, times=times)
