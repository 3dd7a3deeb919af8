"""Intervals are what they say: the naive loop's, of the right coverage, and paired."""

from __future__ import annotations

import random

import numpy as np
import pytest

from topa.core.errors import InputError
from topa.evals import metrics
from topa.evals.metrics import accuracy, difference, macro_accuracy, wilson


def questions(videos: int, seed: int, skill: float = 0.6, spread: float = 0.0):
    """Uneven numbers of questions per video; with `spread`, videos are easy or hard as a whole."""
    rng = np.random.default_rng(seed)
    correct, groups = [], []
    for video in range(videos):
        ease = float(np.clip(skill + rng.normal() * spread, 0, 1))
        for _ in range(rng.integers(1, 6)):
            correct.append(bool(rng.random() < ease))
            groups.append(f"v{video:03}")
    return correct, groups


def naive_interval(scores: list[float], groups: list[str], seed: int, resamples: int) -> tuple[float, float]:
    """The oracle: collect the questions of every drawn video, then take their mean."""
    names = sorted(set(groups))
    draws = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)), dtype=np.int32)
    means = []
    for draw in draws:
        drawn = [s for k in draw for s, group in zip(scores, groups, strict=True) if group == names[k]]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    low, high = (np.interp(q * (len(means) - 1), np.arange(len(means)), means) for q in (0.025, 0.975))
    return float(low), float(high)


@pytest.mark.parametrize("seed", [0, 7])
def test_accuracy_is_the_naive_loops(seed):
    correct, groups = questions(12, seed)
    estimate = accuracy(correct, groups, seed=seed, resamples=150)
    assert estimate.value == pytest.approx(sum(correct) / len(correct))
    low, high = naive_interval([float(c) for c in correct], groups, seed, 150)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert (estimate.questions, estimate.groups) == (len(correct), 12)


def test_difference_is_the_naive_loops_on_the_same_videos():
    a, groups = questions(12, 1)
    b = [random.Random(3).random() < 0.4 for _ in a]
    estimate = difference(a, b, groups, seed=5, resamples=150)
    gains = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    assert estimate.value == pytest.approx(sum(gains) / len(gains))
    assert (estimate.low, estimate.high) == pytest.approx(naive_interval(gains, groups, 5, 150))


def test_the_interval_covers_the_truth_about_as_often_as_promised():
    covered = 0
    for seed in range(300):
        estimate = accuracy(*questions(60, seed, skill=0.6), resamples=300)
        covered += estimate.low <= 0.6 <= estimate.high
    assert 0.89 <= covered / 300 <= 0.99


def test_videos_not_questions_are_resampled():
    # Ten questions per video that all stand or fall together are worth one.
    correct = [k % 2 == 0 for k in range(40) for _ in range(10)]
    together = accuracy(correct, [f"v{k}" for k in range(40) for _ in range(10)])
    apart = accuracy(correct, [f"v{k}" for k in range(400)])
    assert together.value == apart.value
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_pairing_takes_the_videos_own_difficulty_out():
    a, groups = questions(80, 2, spread=0.4)
    b = list(a)
    worse = [k for k, hit in enumerate(a) if hit][::10]
    for k in worse:
        b[k] = False
    estimate = difference(a, b, groups)
    assert estimate.low > 0
    single = accuracy(a, groups)
    assert estimate.high - estimate.low < 0.6 * (single.high - single.low)
    same = difference(a, a, groups)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_order_of_the_questions_does_not_matter():
    correct, groups = questions(30, 4)
    order = random.Random(0).sample(range(len(correct)), len(correct))
    assert accuracy([correct[k] for k in order], [groups[k] for k in order]) == accuracy(correct, groups)


def test_a_seed_is_a_result():
    correct, groups = questions(30, 4)
    assert accuracy(correct, groups, seed=1) == accuracy(correct, groups, seed=1)
    assert accuracy(correct, groups, seed=1).low != accuracy(correct, groups, seed=2).low


def test_one_video_says_nothing_about_others():
    estimate = accuracy([True, True, False], ["v"] * 3)
    assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(2 / 3), 0, 1)
    assert difference([True], [False], ["v"]).low == -1


def test_partial_credit_counts():
    assert accuracy([0.2, 0.2, 0.2], ["a", "b", "c"]).value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("correct", "groups", "message"),
    [
        ([], [], "no questions"),
        ([True, False], ["a"], "2 answers, but the videos of 1"),
        ([True, 1.5], ["a", "b"], "answer 1 scores 1.5"),
        ([float("nan")], ["a"], "answer 0 scores nan"),
    ],
)
def test_bad_input_is_answered(correct, groups, message):
    with pytest.raises(InputError, match=message):
        accuracy(correct, groups)


def test_unequal_answers_are_not_paired():
    with pytest.raises(InputError, match="1 answers, but the videos of 2"):
        difference([True, False], [True], ["a", "b"])
    with pytest.raises(InputError, match="resamples is 0"):
        accuracy([True], ["a"], resamples=0)


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),
    # Values of the formula in Wilson (1927), as tables of it give them.
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilsons_interval(right, asked, low, high):
    found = wilson([k < right for k in range(asked)], [f"v{k % 7}" for k in range(asked)])
    assert (found.value, found.low, found.high) == pytest.approx((right / asked, low, high), abs=1e-4)
    assert (found.questions, found.groups) == (asked, 7)


def test_the_mean_over_types_is_the_naive_loops():
    correct, groups = questions(12, 3)
    kinds = [("rare" if k % 9 == 0 else "common") for k in range(len(correct))]
    found = macro_accuracy(correct, groups, kinds, seed=2, resamples=150)

    def mean(rows):
        shares = []
        for kind in ("rare", "common"):
            own = [correct[row] for row in rows if kinds[row] == kind]
            shares += [sum(own) / len(own)] if own else []
        return sum(shares) / len(shares)

    assert found.value == pytest.approx(mean(range(len(correct))))
    assert found.value != pytest.approx(accuracy(correct, groups).value)
    names = sorted(set(groups))
    draws = np.random.default_rng(2).integers(0, len(names), size=(150, len(names)), dtype=np.int32)
    means = [mean([r for k in draw for r, g in enumerate(groups) if g == names[k]]) for draw in draws]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))))


def test_memory_of_a_bootstrap_is_bounded_and_blocks_change_nothing(monkeypatch):
    correct, groups = questions(30, 4)
    whole = accuracy(correct, groups)
    monkeypatch.setattr(metrics, "_AT_ONCE", 100)
    assert accuracy(correct, groups) == whole


def test_types_must_be_as_many_as_answers():
    with pytest.raises(InputError, match="2 answers, but the types of 1"):
        macro_accuracy([True, False], ["a", "b"], ["x"])
