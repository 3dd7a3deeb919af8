"""What published records become: options without their letters, the index of the answer, and faults by name.

A loader of `evals.datasets` hands over what the file says; nothing is dropped, replaced or put in another order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf, isnan
from pathlib import Path

from .example import Example

NO_QUESTION = "the question is empty"
FEW_OPTIONS = "fewer than two options"
EMPTY_OPTION = "an option is empty"
NO_OPTION = "the answer is none of the options"
NO_LENGTH = "the part has no length"
_LETTERED = re.compile(r"\(?([A-Z])[.):]\s*")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")


def choice(
    name: str,
    video: str,
    path: Path,
    question: str,
    options: Sequence[str],
    answer: int | str | None,
    *,
    kind: str = "other",
    groups: tuple[tuple[str, str], ...] = (),
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    subtitles: Path | None = None,
) -> Example:
    """A multiple choice question as published, with the reason where it can't be asked.

    answer: the index of the right option, or its text, which may stand there twice: the first one then; None where it
    is hidden. An answer that is none of the options is kept as the example's reference. start, end: NaN is the
    video's own start or end.
    """
    found = tuple([option.strip() for option in options])
    text = question.strip()
    start, end = _known(start), _known(end)
    right: int | None = None
    if isinstance(answer, str):
        right = found.index(answer.strip()) if answer.strip() in found else None
    elif answer is not None and 0 <= answer < len(found):
        right = answer
    fault = ""
    if not text:
        fault = NO_QUESTION
    elif len(found) < 2:
        fault = FEW_OPTIONS
    elif not all(found):
        fault = EMPTY_OPTION
    elif answer is not None and right is None:
        fault = NO_OPTION
    elif (start is not None or end is not None) and not ordered(start, end):
        fault = NO_LENGTH
    wrong = () if answer is None or right is not None else (str(answer).strip(),)
    return Example(name, video, path, text, found, right, wrong, kind, groups, start, end, fps, subtitles, fault=fault)


def opened(
    name: str,
    video: str,
    path: Path,
    question: str,
    answers: Iterable[str | None],
    *,
    kind: str = "other",
    groups: tuple[tuple[str, str], ...] = (),
) -> Example:
    """An open question as published. answers: right ones; empty ones don't count."""
    references = tuple(answer.strip() for answer in answers if answer and answer.strip())
    text = question.strip()
    fault = "" if text else NO_QUESTION
    return Example(name, video, path, text, references=references, kind=kind, groups=groups, fault=fault)


def ordered(start: float | None, end: float | None) -> bool:
    """Whether a part begins in the video and ends behind its beginning."""
    first = 0.0 if start is None else start
    return 0.0 <= first < inf and (end is None or first < end < inf)


def unlettered(options: Sequence[str]) -> list[str]:
    """Options without the letter before each, where every one of them begins with its own."""
    matches = [_LETTERED.match(option.strip()) for option in options]
    letters = [match[1] for match in matches if match]
    if letters != [chr(ord("A") + number) for number in range(len(options))]:
        return list(options)
    return [option.strip()[match.end() :] for option, match in zip(options, matches, strict=True) if match]


def by_letter(answer: str | None) -> int | str | None:
    """The index that a letter stands for; anything else as it is, None for nothing."""
    told = (answer or "").strip()
    letter = _LETTER.fullmatch(told)
    return ord(letter[1].upper()) - ord("A") if letter else told or None


def distinct(examples: Iterable[Example]) -> Iterator[Example]:
    """The same, an id that comes again with `#2` and so on behind it: each published record has a name of its own."""
    seen: dict[str, int] = {}
    for example in examples:
        times = seen[example.id] = seen.get(example.id, 0) + 1
        yield example if times == 1 else replace(example, id=f"{example.id}#{times}")


def _known(seconds: float | None) -> float | None:
    return None if seconds is None or isnan(seconds) else seconds
