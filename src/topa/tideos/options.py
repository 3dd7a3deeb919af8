"""Options of a question in another order, the right one followed."""

from __future__ import annotations

import random
import re

from .tideo import Question

_REFERS = re.compile(r"\b(above|all of|both|none|neither|either)\b")
_HINTS = ("above", "all of", "both", "none", "either")


def keeps_order(question: Question) -> bool:
    """Whether options must stay where they are: the right one isn't known, or one speaks of others.

    A rule on whole words ("both of the above"), where the released code looks for substrings and so leaves "hand"
    and "ball" in place.
    """
    if question.answer is None:
        return True
    told = "\n".join(question.options).lower()
    # The expression is exact and slow; most options hold none of its words even within others.
    return any(hint in told for hint in _HINTS) and _REFERS.search(told) is not None


def shuffle_options(question: Question, rng: random.Random) -> Question:
    """The same question with its options in another order, the index of the right one moved along.

    Options that speak of other options keep their order.
    """
    if question.answer is None or keeps_order(question):
        return question
    order = rng.sample(range(len(question.options)), len(question.options))
    options = tuple(question.options[i] for i in order)
    return question.model_copy(update={"options": options, "answer": order.index(question.answer)})


def place_answer(question: Question, place: int, rng: random.Random) -> Question:
    """The same question, shuffled, with the right option at index `place`; unchanged where options keep their order."""
    if question.answer is None or keeps_order(question):
        return question
    others = [option for index, option in enumerate(question.options) if index != question.answer]
    rng.shuffle(others)
    others.insert(place, question.options[question.answer])
    return question.model_copy(update={"options": tuple(others), "answer": place})
