"""What the micro world's stages cost, in passes of `core.calibration`: processor time of both, measured in turn."""

from __future__ import annotations

START = 160.0
"""Loading what every run needs."""
WRITE, ENCODE, TRAIN = 0.02, 0.08, 0.26
"""Of a Tideo: written, encoded with a row of the memory, and trained on once."""
RENDER, WATCH, ANSWER = 1.9, 1.1, 1.0
"""Of a video: rendered, decoded and encoded, and all its questions answered once."""


def alignment(tideos: int, epochs: float) -> float:
    """Cost of aligning the micro model, from nothing."""
    return START + tideos * (WRITE + ENCODE + TRAIN * epochs)
