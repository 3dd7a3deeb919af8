"""ROUGE-L as defined by the COCO caption evaluation: the longest common subsequence of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BETA = 1.2  # recall weighs more than precision, as in COCO's scorer


def rouge_l(candidate: str, reference: str) -> float:
    """Return the ROUGE-L F-measure, 0 to 1, of lower-cased words without punctuation.

    For monitoring a run; numbers comparable with papers come from `evals.captioning`, which uses Penn Treebank tokens.
    Source: Lin (2004), with the beta of the COCO caption evaluation.
    """
    return rouge_l_of_words(_words(candidate), [_words(reference)])


def rouge_l_of_words(candidate: Sequence[str], references: Iterable[Sequence[str]]) -> float:
    """Return ROUGE-L of words against several references, with the best precision and the best recall among them."""
    places: dict[str, int] = {}
    for at, word in enumerate(candidate):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(candidate)) - 1
    precision = recall = 0.0
    for reference in references:
        common = _longest_common(places, full, reference)
        if common:
            precision, recall = max(precision, common / len(candidate)), max(recall, common / len(reference))
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def _longest_common(places: dict[str, int], full: int, other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, with a column of the table as the bits of an integer.

    places: for each word of the first text, the bits of its positions. full: the bits of all positions.
    Source: Crochemore et al. (2001), "A fast and practical bit-vector algorithm for the longest common subsequence".
    """
    row = full
    for word in other:
        if matches := places.get(word):
            row = (row + (row & matches) | row & ~matches) & full
    return full.bit_count() - row.bit_count()
