"""A video as the language model reads it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from ..features.frames import FrameFeatures
from .answer import EvidenceFrame


@dataclass(frozen=True, slots=True, eq=False)
class VideoInputs:
    """The frames of a video that the model reads, made by `Topa.inputs_of`. Compared by identity: requests about one
    object share one reading of it.

    features: of these frames, [n, D], in the space that the model reads. values: float32 [T, D] and valid: bool [T],
    what the model gets; T is n but for released adapters, which read padding. readings: the memory captions that each
    frame was read as, or none. images: the pictures, or none where only features were kept. frame_selection: how the
    frames were chosen. warnings: about the video and its frames, for the answer.
    """

    features: FrameFeatures
    values: Tensor
    valid: Tensor
    readings: tuple[EvidenceFrame, ...] = ()
    images: tuple[Image.Image, ...] = ()
    frame_selection: str = "uniform"
    warnings: tuple[str, ...] = ()

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds of the frames; none where they aren't known."""
        return () if self.features.times is None else tuple(self.features.times[self.features.valid].tolist())

    @property
    def frames(self) -> int:
        """Number of frames that are read, padding excluded."""
        return int(self.features.valid.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A part of a video that is read by itself. start, end: seconds of its first and its last frame, nan where they
    aren't known. similarity: to the question, a cosine. video: its path in the library, or "". subtitles: what is said
    in it."""

    inputs: VideoInputs
    start: float
    end: float
    similarity: float
    video: str = ""
    subtitles: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedInputs:
    """Segments that are read one by one, whose answers are combined (see `combine`). frame_selection: how they were
    chosen."""

    segments: tuple[Segment, ...]
    frame_selection: str
