"""A user's own questions: JSON Lines, one question a line.

    video        path, relative to the folder of videos
    question     text
    options      texts, two or more; without them the question is open
    answer       with options: the index of the right one (a number, from 0), its letter, or its text; else a text
    answer_text  the right answer as free text, where it isn't just the option's (optional)
    start, end   seconds: the question is about this part (optional)
    id, kind     names of the question and of its sort (optional)
    description  what happens in the video (optional)

Other fields are named aloud and not read. What is wrong here can be mended, so it is an error with the line; options
that repeat are left to whoever reads on (`Unfit`), since data sets of any size have some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..core.progress import console
from ..tideos.streams import Stream
from ..tideos.tideo import Question
from .questions import Asked, Unfit, VideoQuestion, ordered

FIELDS = ("video", "question", "options", "answer", "answer_text", "start", "end", "id", "kind", "description")
_LETTER = re.compile(r"\(?([A-Za-z])[.):]?")


class _Wrong(Exception):
    """found, expected: of one line."""


def read(path: Path, videos: Path) -> Iterator[Asked]:
    """The questions of a file. Raises InputError that names the line."""
    unread: dict[str, None] = {}
    seen: set[str] = set()
    with Stream(path) as stream:
        for item in stream.objects():
            unread |= dict.fromkeys(name for name in item if name not in FIELDS)
            try:
                asked = _asked(item, videos, f"line-{stream.line}")
                if asked.id in seen:
                    raise _Wrong(f"the id {asked.id!r} a second time", "ids that differ")
            except _Wrong as wrong:
                found, expected = wrong.args
                raise stream.bad(found, expected) from wrong
            seen.add(asked.id)
            yield asked
    if unread:
        console.print(f"{path.name}: fields that aren't read: {', '.join(unread)}")


def _asked(item: dict[str, Any], videos: Path, name: str) -> Asked:
    video = _text(item, "video")
    options = _options(item)
    start, end = _seconds(item, "start"), _seconds(item, "end")
    if not ordered(start, end):
        raise _Wrong(f"start {start}, end {end}", "0 <= start < end, in seconds")
    given = item.get("id", name)
    if isinstance(given, bool) or not isinstance(given, str | int) or not str(given).strip():
        raise _Wrong(f"the id {given!r}", "a text or a number")
    if repeated := sorted({option for option in options if options.count(option) > 1}):
        return Unfit(str(given), video, "options repeat", ", ".join(repeated))
    free = _text(item, "answer_text") if item.get("answer_text") is not None else None
    told: dict[str, Any] = {"question": _text(item, "question"), "options": options, "answer_text": free}
    if options:
        told["answer"] = _index(options, item.get("answer"))
    elif free is None:
        told["answer_text"] = _text(item, "answer")
    if item.get("kind") is not None:
        told["kind"] = _text(item, "kind")
    description = _text(item, "description") if item.get("description") is not None else ""
    try:
        question = Question(**told)
    except ValidationError as error:
        raise _Wrong(str(error.errors()[0]["msg"]), "a question") from error
    return VideoQuestion(str(given), videos / video, question, start, end, description)


def _text(item: dict[str, Any], field: str) -> str:
    found = item.get(field)
    if not isinstance(found, str) or not found.strip():
        raise _Wrong(f"{field} {found!r}" if field in item else f"no {field}", f"a text under {field!r}")
    return found.strip()


def _options(item: dict[str, Any]) -> tuple[str, ...]:
    """None where the field is absent or null: an open question."""
    found = item.get("options")
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) < 2:
        raise _Wrong(f"options {found!r}", "two texts or more, or no field 'options' for an open question")
    if not all(isinstance(option, str) and option.strip() for option in found):
        raise _Wrong(f"options {found!r}", "a text that isn't empty in each")
    return tuple(option.strip() for option in found)


def _seconds(item: dict[str, Any], field: str) -> float | None:
    found = item.get(field)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not isfinite(found):
        raise _Wrong(f"{field} {found!r}", f"seconds under {field!r}")
    return float(found)


def _index(options: Sequence[str], answer: object) -> int:
    """Which option an answer means, read as an index, as a letter and as a text; only one may come out."""
    if answer is None or isinstance(answer, bool) or not isinstance(answer, str | int):
        raise _Wrong("no answer" if answer is None else f"the answer {answer!r}", "an index, a letter, or an option")
    meant = {number for number, option in enumerate(options) if option == str(answer).strip()}
    if isinstance(answer, int):
        meant |= {answer} & set(range(len(options)))
    elif letter := _LETTER.fullmatch(answer.strip()):
        meant |= {ord(letter[1].upper()) - ord("A")} & set(range(len(options)))
    if not meant:
        raise _Wrong(f"the answer {answer!r}", f"an index from 0 to {len(options) - 1}, a letter, or one of {options}")
    if len(meant) > 1:
        readings = " and ".join(repr(options[number]) for number in sorted(meant))
        other = "its text" if isinstance(answer, int) else "the index of the right option, a number"
        raise _Wrong(f"the answer {answer!r}, which may mean {readings}", other)
    return meant.pop()
