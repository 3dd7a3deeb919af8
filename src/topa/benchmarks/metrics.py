"""Numbers with intervals: accuracy and paired differences, bootstrapped over videos.

Reads right and wrong answers with the video each belongs to; gives `Estimate`s to reports.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from ..core.errors import InputError

TAILS = (0.025, 0.975)
"""Between these quantiles of the resampled values lies the 95 % interval."""


class Estimate(BaseModel):
    """A mean over `questions`, with the 95 % percentile interval of a bootstrap over `groups` (videos)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    questions: int
    groups: int


def accuracy(
    correct: Sequence[bool | float], groups: Sequence[str], *, seed: int = 0, resamples: int = 2000
) -> Estimate:
    """The share of right answers. Whole videos are resampled, as questions about one video stand or fall together.

    correct: one per question, 0 to 1 (between them: partial credit).  groups: the video of each question.
    Of a single video no interval can be had: it is given as everything possible, 0 to 1.
    """
    hits = _checked(correct, groups, resamples)
    return _bootstrap(hits, groups, seed, resamples, possible=(0.0, 1.0))


def difference(
    a: Sequence[bool | float],
    b: Sequence[bool | float],
    groups: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Estimate:
    """Accuracy of `a` minus accuracy of `b`, paired: the same questions, and the same videos in every resample.

    Of a single video no interval can be had: it is given as everything possible, -1 to 1.
    """
    gains = _checked(a, groups, resamples) - _checked(b, groups, resamples)
    return _bootstrap(gains, groups, seed, resamples, possible=(-1.0, 1.0))


def _checked(correct: Sequence[bool | float], groups: Sequence[str], resamples: int) -> NDArray[np.float64]:
    if not len(correct):
        raise InputError("accuracy of no questions: expected at least one answer. Look whether any question was asked.")
    if len(correct) != len(groups):
        raise InputError(f"{len(correct)} answers, but the videos of {len(groups)}: expected one video per answer.")
    if resamples < 1:
        raise InputError(f"resamples is {resamples}; expected at least 1 (2000 is usual).")
    hits = np.asarray(correct, dtype=np.float64)
    wrong = ~((hits >= 0) & (hits <= 1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(f"answer {first} scores {hits[first]}; expected a number from 0 (wrong) to 1 (right).")
    return hits


def _bootstrap(
    scores: NDArray[np.float64], groups: Sequence[str], seed: int, resamples: int, possible: tuple[float, float]
) -> Estimate:
    # Sorted names, not order of appearance: shuffled questions get the same interval.
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.bincount(index, weights=scores)
    counts = np.bincount(index)
    low, high = possible
    if len(names) > 1:
        draws = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)), dtype=np.int32)
        low, high = np.quantile(sums[draws].sum(axis=1) / counts[draws].sum(axis=1), TAILS)
    return Estimate(
        value=float(scores.mean()), low=float(low), high=float(high), questions=len(scores), groups=len(names)
    )
