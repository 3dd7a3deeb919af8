"""All encoded frames of one video, for as many questions as there are: each is projected and read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..features.encode_video import encode_video
from ..features.frames import FrameFeatures
from ..features.video import probe
from .answer import EvidenceFrame
from .request import check_candidates
from .video_inputs import VideoInputs

if TYPE_CHECKING:
    from .engine import Topa

_MAX_FRAMES = 4096  # of a video, by default
_CHUNK = 128  # pictures in memory at a time


class ProjectedVideo:
    """image: all frames, in image space and valid. truncated: the file is damaged or cut."""

    def __init__(self, engine: Topa, image: FrameFeatures, *, truncated: bool = False) -> None:
        self.engine = engine
        self.image = image
        self.truncated = truncated
        self._values = torch.zeros_like(image.values)
        self._is_projected = torch.zeros(len(image), dtype=torch.bool)
        self._readings: dict[int, EvidenceFrame] = {}

    def __len__(self) -> int:
        return len(self.image)

    def values(self, start: int = 0, end: int | None = None) -> Tensor:
        """Frames `start` to `end` as the model reads them: float32 [n, D] unit rows. Raises as `Topa.project`."""
        self._project(list(range(len(self)))[start:end])
        return self._values[start:end]

    def inputs(self, frames: Sequence[int], frame_selection: str = "uniform") -> VideoInputs:
        """Return some frames, by number, as inputs. frame_selection: how they were chosen. Raises as `Topa.project`."""
        self._project(frames)
        own = self.image.take(torch.tensor(frames))
        if new := [number for number in frames if number not in self._readings]:
            self._readings |= zip(new, self.engine.read(self.image.take(torch.tensor(new))), strict=False)
        readings = tuple(self._readings[number] for number in frames if number in self._readings)
        features = FrameFeatures(self._values[frames], own.valid, "projected", own.encoder, own.times)
        return self.engine.inputs_of_projected(
            features, readings, truncated=self.truncated, frame_selection=frame_selection
        )

    def span(self, start: int, end: int) -> tuple[float, float]:
        """Seconds of the first and the last of frames `start` to `end`; nan where they aren't known."""
        times = self.image.times
        return (math.nan, math.nan) if times is None else (float(times[start]), float(times[end - 1]))

    def _project(self, frames: Sequence[int]) -> None:
        new = torch.tensor([n for n in dict.fromkeys(frames) if not self._is_projected[n]], dtype=torch.int64)
        if len(new):
            self._values[new] = self.engine.project([self.image.take(new)])[0].values
            self._is_projected[new] = True


def encode_whole_video(
    engine: Topa,
    video: str | Path,
    *,
    candidate_frames: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> ProjectedVideo:
    """Decode and encode evenly spread frames of a video of any length, a few pictures in memory at a time.

    candidate_frames: how many; by default one a second, at least four times as many as the model reads, and 4096 at
    most. progress: called with the number of frames that were encoded. Raises what `sample_frames` raises, UsageError
    for fewer than the model reads.
    """
    check_candidates(video, candidate_frames, engine.config.frames)
    duration = probe(video).duration_s
    count = candidate_frames or min(max(math.ceil(duration), 4 * engine.config.frames), _MAX_FRAMES)
    chunks, truncated = [], False
    for start in range(0, count, _CHUNK):
        end = min(start + _CHUNK, count)
        bounds = (duration * start / count, duration * end / count if end < count else None)
        chunk = encode_video(video, engine.encoder, end - start, start=bounds[0], end=bounds[1])
        chunks.append(chunk.features)
        truncated |= chunk.sampled.truncated
        progress(end - start)
    times = torch.cat([chunk.times for chunk in chunks if chunk.times is not None])
    values = torch.cat([chunk.values for chunk in chunks])
    valid = torch.ones(len(values), dtype=torch.bool)
    image = FrameFeatures(values, valid, "image", engine.encoder.identity, times)
    return ProjectedVideo(engine, image, truncated=truncated)
