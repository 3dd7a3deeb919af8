"""What a request must be before a model is loaded for it. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import InputError, UsageError
from ..prompts.prompt import check_options


def check_question(question: str, choices: Sequence[str]) -> None:
    """Raises InputError for an empty question, a single choice, or choices that repeat."""
    if not question.strip():
        raise InputError("question: found nothing; expected a question, as in: topa ask VIDEO 'what happens ?'")
    if choices:
        check_options(choices)


def check_explained(question: str | None, choices: Sequence[str]) -> None:
    """The same for what is to be explained, a caption where there is no question."""
    if question is not None:
        check_question(question, choices)
    elif choices:
        raise InputError("choices: found some without a question; expected a question to choose an answer for. Ask it.")


def check_among(video: object, among: int | None, frames: int) -> None:
    """Raises UsageError where a model that reads so many frames is to choose them among fewer."""
    if among is not None and among < frames:
        raise UsageError(
            f"{video}: found among={among}; expected {frames} or more: the model reads so many frames. Ask for more, "
            "such as four times as many."
        )


def check_shiftable(bridge: str) -> None:
    """Raises UsageError for a model without a memory, which no pictures can be moved to."""
    if bridge == "raw":
        raise UsageError("adapt: this model reads pictures as they are; expected one with a memory to shift to.")


def check_query(query: str) -> None:
    """Raises InputError for an empty query."""
    if not query.strip():
        raise InputError("query: found nothing; expected words, as in: topa search LIBRARY 'a red ball'")
