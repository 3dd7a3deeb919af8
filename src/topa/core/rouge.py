"""ROUGE-L by the COCO captions' definition: how much of a sentence stands in another, in order."""

from __future__ import annotations

import re

_BETA = 1.2  # recall weighs more than precision, as in COCO's scorer


def rouge_l(said: str, reference: str) -> float:
    """The F-measure of the longest common subsequence of words, 0 to 1; lower case, punctuation apart.

    Source: Lin (2004), with the beta of the COCO caption evaluation.
    """
    found, expected = _words(said), _words(reference)
    common = _longest_common(found, expected)
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(expected)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def _longest_common(a: list[str], b: list[str]) -> int:
    lengths = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for at, other in enumerate(b, start=1):
            above = lengths[at]
            lengths[at] = diagonal + 1 if word == other else max(above, lengths[at - 1])
            diagonal = above
    return lengths[-1]
