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
_BLOCK = 250  # resamples at a time: memory stays flat


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


def macro_accuracy(
    correct: Sequence[bool | float],
    groups: Sequence[str],
    kinds: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Estimate:
    """The mean over the types of questions of the accuracy of each, so that rare types count as much as frequent ones.

    kinds: the type of each question. A type of which a resample has no question is not in that resample's mean.
    Of a single video no interval can be had: it is given as everything possible, 0 to 1.
    """
    hits = _checked(correct, groups, resamples)
    if len(kinds) != len(groups):
        raise InputError(f"{len(groups)} answers, but the types of {len(kinds)}: expected one type per answer.")
    videos, video = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    types, kind = np.unique(np.asarray(kinds, dtype=str), return_inverse=True)
    sums, counts = np.zeros((2, len(videos), len(types)))
    np.add.at(sums, (video, kind), hits)
    np.add.at(counts, (video, kind), 1)
    low, high = 0.0, 1.0
    if len(videos) > 1:
        rng = np.random.default_rng(seed)
        means = np.empty(resamples)
        for start in range(0, resamples, _BLOCK):
            draws = rng.integers(0, len(videos), size=(min(_BLOCK, resamples - start), len(videos)), dtype=np.int32)
            times = np.stack([np.bincount(draw, minlength=len(videos)) for draw in draws]).astype(float)
            asked = times @ counts
            with np.errstate(invalid="ignore"):
                means[start : start + len(draws)] = np.nanmean((times @ sums) / asked, axis=1)
        low, high = np.quantile(means, TAILS)
    value = (sums.sum(axis=0) / counts.sum(axis=0)).mean()
    return Estimate(value=float(value), low=float(low), high=float(high), questions=len(hits), groups=len(videos))


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
