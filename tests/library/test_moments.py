"""Frames become moments by the stated rule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topa.core.errors import UsageError
from topa.library.moments import Rule, TimeSpan, overlap, segments

TIMES = np.arange(8, dtype=np.float64)


def cut(scores: list[float], share: float = 0.5, gap: float = 0.0, floor: float = 0.0) -> list[TimeSpan]:
    return segments(np.array(scores, np.float32), TIMES[: len(scores)], float(len(scores)), floor, Rule(share, gap))


def test_neighbours_are_one_moment():
    first, second = cut([0.1, 0.6, 0.8, 0.1, 0.1, 1.0, 0.5, 0.1])
    assert (first.start, first.end, first.frames) == (4.5, 6.5, (5, 6))
    assert (second.start, second.end, second.frames) == (0.5, 2.5, (2, 1))
    assert (first.score, second.score) == (1.0, pytest.approx(0.8))


def test_a_gap_is_bridged_where_it_is_short():
    scores = [1.0, 0.1, 0.9, 0.1, 0.1, 0.8, 0.1]
    assert [one.frames for one in cut(scores, gap=1.9)] == [(0,), (2,), (5,)]
    assert [one.frames for one in cut(scores, gap=2.0)] == [(0, 2), (5,)]
    assert [(one.start, one.end) for one in cut(scores, gap=3.0)] == [(0.0, 5.5)]


def test_the_level_counts_from_the_floor():
    assert [one.frames for one in cut([0.9, 0.4, 1.0, 0.4], share=0.5)] == [(2,), (0,)]
    assert [one.frames for one in cut([0.9, 0.4, 1.0, 0.4], share=0.5, floor=-1)] == [(2, 0, 1, 3)]


def test_a_video_below_the_floor_has_its_best_frame():
    assert [one.frames for one in cut([-0.5, -0.2, -0.3])] == [(1,)]


def test_frames_that_may_not_be_found_are_not():
    out = float("-inf")
    assert [one.frames for one in cut([out, 0.9, out, 0.9])] == [(1,), (3,)]
    assert cut([out, out]) == []


def test_a_single_frame_stands_for_the_whole_video():
    (only,) = segments(np.array([0.3], np.float32), np.array([0.5]), 9.0, 0.0, Rule(0.5, 0))
    assert (only.start, only.end) == (0.0, 9.0)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8),
    st.floats(0.01, 1),
    st.floats(0, 4),
    st.floats(-1, 1),
)
def test_moments_never_overlap_and_hold_the_best_frame(scores, share, gap, floor):
    found = cut(scores, share, gap, floor)
    assert found[0].score == np.float32(max(scores))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    by_time = sorted(found, key=lambda one: one.start)
    assert all(a.end <= b.start for a, b in pairwise(by_time))
    assert all(0 <= one.start < one.end <= len(scores) for one in found)
    assert len({frame for one in found for frame in one.frames}) == sum(len(one.frames) for one in found)


@pytest.mark.parametrize(("share", "gap"), [(0, 1), (1.1, 1), (0.5, -1), (float("nan"), 1)])
def test_impossible_rules_are_refused(share, gap):
    with pytest.raises(UsageError, match="0 < share <= 1"):
        Rule(share, gap)


def test_overlap():
    assert overlap((0, 2), [(1, 3)]) == pytest.approx(1 / 3)
    assert overlap((0, 2), [(5, 6), (0, 1)]) == 0.5
    assert overlap((0, 2), [(2, 3)]) == overlap((0, 2), []) == 0
