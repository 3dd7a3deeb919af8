"""Features of one thing at a time: the frames of a Tideo in text space, those of a video in image space.

Many of them are encoded by `features.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..tideos.tideo import TextFrame
from .encoder import Encoder
from .frames import FrameFeatures
from .fusion import Fusion, fuse
from .video import SampledVideo, sample_frames


@dataclass(frozen=True, slots=True)
class EncodedVideo:
    """One video. features: image space, with times. sampled: the frames as they were decoded."""

    features: FrameFeatures
    sampled: SampledVideo


def encode_frames(frames: Sequence[TextFrame], encoder: Encoder, fusion: Fusion) -> Tensor:
    """Encode each textual frame as one unit row of text space: float32 [T, D]."""
    captions = [[f.caption, *f.objects] if fusion == "mean" else [f.caption] for f in frames]
    rows = encoder.encode_texts([caption for texts in captions for caption in texts])
    return fuse(rows, [len(texts) for texts in captions], fusion)


def encode_video(
    path: str | Path,
    encoder: Encoder,
    frames: int,
    *,
    start: float | None = None,
    end: float | None = None,
    short_side: int | None = None,
) -> EncodedVideo:
    """Encode `frames` frames of a video (see `sample_frames`) as unit rows of image space, with their times.

    Raises what `sample_frames` raises.
    """
    sampled = sample_frames(path, frames, start=start, end=end, short_side=short_side)
    values = encoder.encode_images(sampled.frames)
    times = torch.tensor(sampled.times, dtype=torch.float64)
    return EncodedVideo(FrameFeatures.image(values, encoder.identity, times), sampled)
