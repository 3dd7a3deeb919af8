"""Reorder the options of a question."""

from __future__ import annotations

import random
import re

from .tideo import Question

_REFERS = re.compile(r"\b(above|all of|both|none|neither|either)\b")
_HINTS = ("above", "all of", "both", "none", "either")


def keeps_order(question: Question) -> bool:
    """Whether the options must keep their order: the answer is unknown, or an option refers to others.

    Matches whole words ("both of the above"); the released code matches substrings, and so also keeps "hand" and "ball"
    in place.
    """
    if question.answer is None:
        return True
    text = "\n".join(question.options).lower()
    # The regular expression is slow; most options contain none of its words, even as substrings.
    return any(hint in text for hint in _HINTS) and _REFERS.search(text) is not None


def shuffle_options(question: Question, rng: random.Random) -> Question:
    """Return the question with shuffled options, unless they must keep their order; `answer` follows."""
    if question.answer is None or keeps_order(question):
        return question
    order = rng.sample(range(len(question.options)), len(question.options))
    options = tuple(question.options[i] for i in order)
    return question.model_copy(update={"options": options, "answer": order.index(question.answer)})


def place_answer(question: Question, place: int, rng: random.Random) -> Question:
    """Return the question with shuffled options and the right one at index `place`, unless they keep their order."""
    if question.answer is None or keeps_order(question):
        return question
    others = [option for index, option in enumerate(question.options) if index != question.answer]
    rng.shuffle(others)
    others.insert(place, question.options[question.answer])
    return question.model_copy(update={"options": tuple(others), "answer": place})
