"""Scores of answers in words: normalised exact match, and WUPS.

Reads an answer and the right ones; gives 0 to 1 for one question. A mean of them with its interval is
`metrics.accuracy`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from .wordnet import WordNet

_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_ARTICLES = frozenset({"a", "an", "the"})
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the be am is are was were been being have has had having do does did doing will would can could shall
        should may might must and or but so as if than then that this these those there here he she it they we you i him
        her them us me his hers its their theirs our your my of to in on at for with by from into onto about""",
    )
)
_EXACT = ("DC", "DB")
"""NExT-QA's types of counts, and of yes and no: an answer that is only like the right one is wrong."""


def normalised(answer: str) -> str:
    """An answer as it is compared: NFKC, lower case, no apostrophes, other punctuation as spaces, no articles, "zero"
    to "ten" as digits, one space between words. A full stop or comma between digits stays."""
    text = unicodedata.normalize("NFKC", answer).lower()
    text = re.sub("['\u2019`]", "", text)
    text = re.sub(r"(?<!\d)[.,]|[.,](?!\d)|[^\w\s.,]|_", " ", text)
    return " ".join(_NUMBERS.get(word, word) for word in text.split() if word not in _ARTICLES)


def exact_match(said: str, right: Sequence[str]) -> float:
    """1 where an answer is one of the right ones, both normalised, else 0. An answer without any word is wrong."""
    answer = normalised(said)
    return float(bool(answer) and any(answer == normalised(one) for one in right))


def wups(said: str, right: Sequence[str], wordnet: WordNet, *, threshold: float = 0.9, kind: str = "") -> float:
    """How like the most similar of the right answers an answer is, 0 to 1, as NExT-QA's open-ended task counts it.

    Words are normalised, brought to their base forms, and those that say little are left out. Two words are as alike as
    their first meanings (Wu and Palmer's), and a tenth of that below `threshold` (0.9 and 0 are usual); the same words
    1. For each word of one answer the best of the other's counts, and they are multiplied, words that are like none
    left out; of both directions the lower counts. kind: for NExT-QA's "DC" and "DB" only equal words are right.
    The list of words that say little and the base forms, found without a tagger, are topa's own, so that a last digit
    can differ from the data set's script.
    Source: Malinowski and Fritz (2014), "A multi-world approach to question answering about real-world scenes".
    """
    answer = _content(said, wordnet)
    return max((_alike(answer, _content(one, wordnet), wordnet, threshold, kind) for one in right), default=0.0)


def _alike(one: list[str], other: list[str], wordnet: WordNet, threshold: float, kind: str) -> float:
    if kind in _EXACT:
        return float(bool(one) and one == other)
    return min(_covered(one, other, wordnet, threshold), _covered(other, one, wordnet, threshold))


def _covered(words: list[str], others: list[str], wordnet: WordNet, threshold: float) -> float:
    best = [max((_likeness(word, other, wordnet, threshold) for other in others), default=0.0) for word in words]
    product = 1.0
    for likeness in filter(None, best):
        product *= likeness
    return product if any(best) else 0.0


def _likeness(one: str, other: str, wordnet: WordNet, threshold: float) -> float:
    if one == other:
        return 1.0
    first, second = wordnet.first(one), wordnet.first(other)
    if first is None or second is None:
        return 0.0
    likeness = wordnet.likeness(first, second)
    return likeness if likeness >= threshold else 0.1 * likeness


def _content(answer: str, wordnet: WordNet) -> list[str]:
    words = [word for word in normalised(answer).split() if word not in _STOP_WORDS]
    return [lemma for lemma in map(wordnet.lemma, words) if lemma not in _STOP_WORDS]
