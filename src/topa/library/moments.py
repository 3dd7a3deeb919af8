"""From scores of a video's frames to parts of the video: which neighbouring frames are one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rule:
    """Which frames of a video belong to a moment, and which of them to one.

    share: those whose score is at least floor + share * (best - floor), where best is the video's best score and floor
    what the caller takes for a frame that shows nothing of it; above 0, at most 1. gap: of these, two make one moment
    where no other frame lies between them, or where they are no more than so many seconds apart.
    Raises UsageError for impossible values.
    """

    share: float
    gap: float

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and self.gap >= 0):
            raise UsageError(f"moments: found share={self.share}, gap={self.gap}; expected 0 < share <= 1, gap >= 0.")


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """start, end: seconds. score: of its best frame. frames: numbers of those that belong to it, the best one first."""

    start: float
    end: float
    score: float
    frames: tuple[int, ...]


def segments(
    scores: NDArray[np.float32], times: NDArray[np.float64], duration: float, floor: float, rule: Rule
) -> list[TimeSpan]:
    """The moments of one video, best first; no two of them overlap.

    scores: float32 [T], -inf for a frame that may not be in one. times: float64 [T] seconds, ascending. duration: of
    the video, seconds. A frame stands for the time halfway to its neighbours, the first and the last one up to the
    video's ends. A video whose best score is not above the floor has its best frame alone.
    """
    best = float(scores.max())
    if not np.isfinite(best):
        return []
    level = floor + rule.share * (best - floor) if best > floor else best
    # A hair below, as rounding may put the best frame under its own level.
    kept = np.flatnonzero(scores >= level - 1e-6 * abs(level))
    apart = (np.diff(kept) > 1) & (np.diff(times[kept]) > rule.gap)
    groups = np.split(kept, np.flatnonzero(apart) + 1)
    starts, ends = spans(times, duration)
    found = []
    for group in groups:
        own = scores[group]
        order = group[np.argsort(-own, kind="stable")]
        found.append(TimeSpan(float(starts[group[0]]), float(ends[group[-1]]), float(own.max()), tuple(order.tolist())))
    return sorted(found, key=lambda segment: (-segment.score, segment.start))


def spans(times: NDArray[np.float64], duration: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The time that each frame stands for: from and to, float64 [T] each."""
    between = (times[1:] + times[:-1]) / 2
    return np.concatenate([[0.0], between]), np.concatenate([between, [max(duration, float(times[-1]))]])


def overlap(a: tuple[float, float], b: Sequence[tuple[float, float]]) -> float:
    """The largest intersection over union of an interval with one of several: 0 to 1."""
    return max((_iou(a, other) for other in b), default=0.0)


def _iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    together = max(a[1], b[1]) - min(a[0], b[0])
    return shared / together if shared else 0.0
