"""Which frames of a long video are read: like the question, unlike each other, in segments that cover it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import normalize

from topa.core.errors import UsageError
from topa.features.relevance import content_words, even, maximal_marginal_relevance, query, segments, top_k


def unit(*rows: tuple[float, ...]) -> torch.Tensor:
    return normalize(torch.tensor(rows), dim=-1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("what colour is the ball ?", "colour ball"),
        ("Which dog's toy comes right after the ball?", "dog's toy comes right after ball"),
        ("what happens here ?", "what happens here"),
        ("o gato corre?", "o gato corre"),
    ],
)
def test_words_that_a_caption_could_have(text, words):
    assert content_words(text) == words


def test_the_query_is_the_mean_over_the_choices():
    rows = {"colour ball red": (1.0, 0.0), "colour ball blue": (0.0, 1.0), "colour ball": (0.6, 0.8)}
    asked = []

    def encode(texts):
        asked.append(list(texts))
        return torch.tensor([rows[text] for text in texts])

    found = query("what colour is the ball ?", ["red", "blue"], encode)
    torch.testing.assert_close(found, unit((1.0, 1.0))[0])
    torch.testing.assert_close(query("what colour is the ball ?", (), encode), torch.tensor([0.6, 0.8]))
    assert asked == [["colour ball red", "colour ball blue"], ["colour ball"]]


def test_even_frames_are_in_the_middle_of_equal_parts():
    assert even(60, 5) == [6, 18, 30, 42, 54]
    assert even(5, 5) == even(5, 9) == [0, 1, 2, 3, 4]
    assert even(7, 2) == [1, 5]


def test_frames_like_the_question_and_unlike_each_other():
    asked = unit((1.0, 0.0, 0.0))[0]
    values = unit((0.0, 0.0, 1.0), (1.0, 0.1, 0.0), (1.0, 0.1, 0.01), (0.8, -0.6, 0.0), (0.1, 0.0, 1.0))
    assert maximal_marginal_relevance(values, asked, 2, relevance=1) == [1, 2]
    assert maximal_marginal_relevance(values, asked, 2, relevance=0.5) == [1, 3]
    assert maximal_marginal_relevance(values, asked, 9) == [0, 1, 2, 3, 4]
    for count, relevance in ((0, 0.5), (1, 1.5), (1, -0.1)):
        with pytest.raises(UsageError, match=f"count={count}, relevance={relevance}"):
            maximal_marginal_relevance(values, asked, count, relevance=relevance)


@pytest.mark.parametrize("total", [1, 7, 10, 11, 14, 15, 16, 60, 61])
def test_segments_cover_a_video_and_overlap_by_half(total):
    found = segments(total, 10)
    assert {n for start, end in found for n in range(start, end)} == set(range(total))
    assert len(set(found)) == len(found)
    assert all(end - start == min(10, total) for start, end in found)
    assert all(second[0] - first[0] <= 5 for first, second in pairwise(found))


def test_a_segment_without_frames_is_refused():
    with pytest.raises(UsageError, match="length=0"):
        segments(3, 0)


def test_the_likest_parts_do_not_overlap():
    asked = unit((1.0, 0.0))[0]
    cosines = torch.tensor([0.0, 0.9, 0.8, 0.1, 0.95, 0.0, 0.5, 0.5])
    values = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    parts = [(0, 2), (1, 3), (2, 4), (4, 6), (6, 8), (7, 8)]
    found = top_k(values, asked, parts, 3)
    assert [number for number, _ in found] == [1, 4, 3]
    assert [likeness for _, likeness in found] == pytest.approx([0.85, 0.5, 0.475])
    assert [number for number, _ in top_k(values, asked, parts, 1)] == [1]
