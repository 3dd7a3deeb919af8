"""ROUGE-L: the longest common subsequence, weighed as COCO does."""

from __future__ import annotations

import pytest

from topa.core.rouge import rouge_l


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ("a red ball rolls", "a red ball rolls", 1.0),
        ("A red ball, rolls.", "a red ball rolls", 1.0),
        ("", "a red ball", 0.0),
        ("a red ball", "", 0.0),
        ("green", "a red ball", 0.0),
        # Two of three words in order, of four: precision 2/3, recall 2/4, beta 1.2.
        ("ball a rolls", "a red ball rolls", 2.44 * (2 / 3) * 0.5 / (0.5 + 1.44 * 2 / 3)),
        # Order counts: one word at a time is common to a text and its reverse.
        ("one two three", "three two one", 1 / 3),
        ("the cat's ball", "the cat's toy", 2 / 3),
    ],
)
def test_the_share_of_words_in_order(candidate, reference, expected):
    assert rouge_l(candidate, reference) == pytest.approx(expected)


def test_leaving_words_out_costs_more_than_adding_some():
    reference = "a small red ball rolls to the left"
    short, long = "a small red ball", "a small red ball rolls to the left and then some more words follow it"
    assert rouge_l(short, reference) < rouge_l(long, reference) < 1
