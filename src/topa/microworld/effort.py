"""What the micro world's stages cost, in passes of `core.calibration`.

Seconds on the wall beside alignment's, between what a quiet and a busy machine gave (docs/log.md): stages of one
thread suffer more from other work than those of many.
"""

from __future__ import annotations

START = 160.0
"""Loading what every run needs."""
WRITE, ENCODE, TRAIN = 0.03, 0.09, 0.26
"""Of a Tideo: written, encoded with a row of the memory, and trained on once."""
RENDER, WATCH, ANSWER = 3.2, 2.0, 1.7
"""Of a video: rendered, decoded and encoded, and all its questions answered once."""


def alignment(tideos: int, epochs: float) -> float:
    """Cost of aligning the micro model, from nothing."""
    return START + tideos * (WRITE + ENCODE + TRAIN * epochs)
