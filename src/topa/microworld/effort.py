"""The cost of the micro world's stages, in passes of `core.calibration`.

Measured relative to alignment, between the values of a quiet and a busy machine (docs/log.md): single-threaded stages
suffer more from other load.
"""

from __future__ import annotations

START = 160.0
"""Loading the models of every run."""
WRITE, ENCODE, TRAIN = 0.03, 0.09, 0.26
"""Per Tideo: writing it, encoding it and a row of the memory, training on it once."""
RENDER, WATCH, ANSWER = 3.2, 2.0, 1.7
"""Per video: rendering it, decoding and encoding it, answering all its questions once."""


def alignment(tideos: int, epochs: float) -> float:
    """Return the cost of aligning the micro model, including data and features."""
    return START + tideos * (WRITE + ENCODE + TRAIN * epochs)
