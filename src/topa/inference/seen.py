"""A video as the LLM reads it, once it was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from ..features.frames import FrameFeatures
from .answer import EvidenceFrame


@dataclass(frozen=True, slots=True)
class Seen:
    """A video as the LLM reads it. features: projected; images: the T sampled pictures, none where only features were
    kept; truncated: the file is cut; frames_by: how its frames were chosen."""

    features: FrameFeatures
    evidence: tuple[EvidenceFrame, ...]
    images: tuple[Image.Image, ...]
    truncated: bool
    frames_by: str = "uniform"

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds of its frames; none where they aren't known."""
        return () if self.features.times is None else tuple(self.features.times[self.features.valid].tolist())
