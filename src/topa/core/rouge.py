"""ROUGE-L by the COCO captions' definition: how much of a sentence stands in another, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BETA = 1.2  # recall weighs more than precision, as in COCO's scorer


def rouge_l(said: str, reference: str) -> float:
    """The F-measure of the longest common subsequence of words, 0 to 1; lower case, punctuation apart.

    For a look at a run: papers' numbers are those of `evals.captioning`, which takes the Penn Treebank's words.
    Source: Lin (2004), with the beta of the COCO caption evaluation.
    """
    return rouge_l_of_words(_words(said), [_words(reference)])


def rouge_l_of_words(said: Sequence[str], references: Iterable[Sequence[str]]) -> float:
    """The same of words, against any number of references: the best precision and the best recall among them."""
    places: dict[str, int] = {}
    for at, word in enumerate(said):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(said)) - 1
    precision = recall = 0.0
    for reference in references:
        common = _longest_common(places, full, reference)
        if common:
            precision, recall = max(precision, common / len(said)), max(recall, common / len(reference))
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def _longest_common(places: dict[str, int], full: int, other: Sequence[str]) -> int:
    """The length of the longest common subsequence; a column of its table is the bits of one number.

    places: the bits of each word of the first text; full: all its bits.
    Source: Crochemore et al. (2001), "A fast and practical bit-vector algorithm for the longest common subsequence".
    """
    row = full
    for word in other:
        if matches := places.get(word):
            row = (row + (row & matches) | row & ~matches) & full
    return full.bit_count() - row.bit_count()
