"""Numbers with intervals: accuracy and paired differences, bootstrapped over videos.

Reads right and wrong answers with the video each belongs to; gives `IntervalEstimate`s to reports. The bootstrap is the
interval of reports: it knows that questions about one video stand or fall together. Wilson's is there beside it, for
comparison with papers that give it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from ..core.errors import InputError
from .schema import FrozenModel

TAILS = (0.025, 0.975)
"""Between these quantiles of the resampled values lies the 95 % interval."""
_NORMAL = 1.959963984540054  # the same quantile of the normal distribution
_AT_ONCE = 1_000_000  # draws that are in memory at a time


class IntervalEstimate(FrozenModel):
    """A mean over `questions`, with the 95 % percentile interval of a bootstrap over `groups` (videos)."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    questions: int
    groups: int


def accuracy(
    correct: Sequence[bool | float], groups: Sequence[str], *, seed: int = 0, resamples: int = 2000
) -> IntervalEstimate:
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
) -> IntervalEstimate:
    """Accuracy of `a` minus accuracy of `b`, paired: the same questions, and the same videos in every resample.

    Of a single video no interval can be had: it is given as everything possible, -1 to 1.
    """
    gains = _checked(a, groups, resamples) - _checked(b, groups, resamples)
    return _bootstrap(gains, groups, seed, resamples, possible=(-1.0, 1.0))


def wilson(correct: Sequence[bool | float], groups: Sequence[str]) -> IntervalEstimate:
    """The share of right answers with Wilson's score interval, 95 %, which takes every question for one of its own.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    hits = _checked(correct, groups, 1)
    number, share = len(hits), float(hits.mean())
    middle = (share + _NORMAL**2 / (2 * number)) / (1 + _NORMAL**2 / number)
    reach = (
        math.sqrt(share * (1 - share) / number + (_NORMAL / (2 * number)) ** 2) * _NORMAL / (1 + _NORMAL**2 / number)
    )
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    return IntervalEstimate(value=share, low=low, high=high, questions=number, groups=len(set(groups)))


def macro_accuracy(
    correct: Sequence[bool | float],
    groups: Sequence[str],
    kinds: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> IntervalEstimate:
    """The mean over the types of questions of the accuracy of each, so that rare types count as much as frequent ones.

    kinds: the type of each question. A type of which a resample has no question is not in that resample's mean.
    Of a single video no interval can be had: it is given as everything possible, 0 to 1.
    """
    hits = _checked(correct, groups, resamples)
    if len(kinds) != len(groups):
        raise InputError(f"{len(groups)} answers, but the types of {len(kinds)}: expected one type per answer.")
    names, kind = np.unique(np.asarray(kinds, dtype=str), return_inverse=True)
    statistics = np.zeros((len(hits), 2 * len(names)))
    statistics[np.arange(len(hits)), kind] = hits
    statistics[np.arange(len(hits)), len(names) + kind] = 1

    def mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        right, asked = sums[:, : len(names)], sums[:, len(names) :]
        shares = np.divide(right, asked, out=np.zeros_like(right), where=asked > 0)
        return np.asarray(shares.sum(axis=1) / (asked > 0).sum(axis=1))

    return resampled(statistics, groups, mean, (0.0, 1.0), seed=seed, resamples=resamples)


def resampled(
    statistics: NDArray[np.float64],
    groups: Sequence[str],
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    possible: tuple[float, float],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> IntervalEstimate:
    """A value of summed statistics, and its interval from a bootstrap over groups.

    statistics: [questions, any]; groups: the video of each question. value: sums [n, any] -> values [n].
    possible: the interval where there is a single video, of which none can be had.
    """
    # Sorted names, not order of appearance: shuffled questions get the same interval.
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.stack([np.bincount(index, weights=column) for column in statistics.T], axis=1)
    low, high = possible
    if len(names) > 1:
        generator = np.random.default_rng(seed)
        drawn = []
        each = max(1, _AT_ONCE // len(names))
        for start in range(0, resamples, each):
            size = (min(each, resamples - start), len(names))
            draws = generator.integers(0, len(names), size=size, dtype=np.int32)
            drawn.append(np.stack([column[draws].sum(axis=1) for column in sums.T], axis=1))
        low, high = np.quantile(value(np.concatenate(drawn)), TAILS)
    whole = float(value(statistics.sum(axis=0, keepdims=True))[0])
    return IntervalEstimate(value=whole, low=float(low), high=float(high), questions=len(statistics), groups=len(names))


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
) -> IntervalEstimate:
    statistics = np.stack([scores, np.ones(len(scores))], axis=1)
    return resampled(statistics, groups, lambda sums: sums[:, 0] / sums[:, 1], possible, seed=seed, resamples=resamples)
