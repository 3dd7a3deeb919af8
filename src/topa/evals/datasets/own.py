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
that repeat are left to whoever reads on, since data sets of any size have some. An answer that is none of them is a
fault then, and one that means two equal ones is the first.

To evaluate, `--data` is the file, or a folder with `questions.jsonl`; the videos' paths start from the folder, or from
`--videos`. The data, their licence and their splits are the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.progress import console
from ...tideos.streams import Stream
from ..catalogue import Benchmark
from ..example import Example
from ..published import NO_OPTION, ordered

NAME = "questions.jsonl"

FIELDS = ("video", "question", "options", "answer", "answer_text", "start", "end", "id", "kind", "description")
_LETTER = re.compile(r"\(?([A-Za-z])[.):]?")


class _Wrong(Exception):
    """found, expected: of one line."""


def examples(path: Path, videos: Path) -> Iterator[Example]:
    """The questions of a file. Raises InputError that names the line."""
    unread: dict[str, None] = {}
    seen: set[str] = set()
    with Stream(path) as stream:
        for item in stream.objects():
            unread |= dict.fromkeys(name for name in item if name not in FIELDS)
            try:
                example = _example(item, videos, f"line-{stream.line}")
                if example.id in seen:
                    raise _Wrong(f"the id {example.id!r} a second time", "ids that differ")
            except _Wrong as wrong:
                found, expected = wrong.args
                raise stream.bad(found, expected) from wrong
            seen.add(example.id)
            yield example
    if unread:
        console.print(f"{path.name}: fields that aren't read: {', '.join(unread)}")


def _read(data: Path, split: str) -> Iterator[Example]:
    path = data / NAME if data.is_dir() else data
    if data.is_dir() and not path.is_file():
        raise InputError(f"{data}: found no {NAME} in it; expected your questions. Name their file with --data.")
    yield from examples(path, path.parent)


def _example(item: dict[str, Any], videos: Path, name: str) -> Example:
    video = _text(item, "video")
    options = _options(item)
    start, end = _seconds(item, "start"), _seconds(item, "end")
    if not ordered(start, end):
        raise _Wrong(f"start {start}, end {end}", "0 <= start < end, in seconds")
    given = item.get("id", name)
    if isinstance(given, bool) or not isinstance(given, str | int) or not str(given).strip():
        raise _Wrong(f"the id {given!r}", "a text or a number")
    free = _text(item, "answer_text") if item.get("answer_text") is not None else None
    question = _text(item, "question")
    answer: int | None = None
    fault = ""
    if options:
        try:
            answer = _index(options, item.get("answer"))
        except _Wrong:
            if len(set(options)) == len(options):
                raise
            free, fault = str(item.get("answer")), NO_OPTION
    elif free is None:
        free = _text(item, "answer")
    return Example(
        str(given),
        video,
        videos / video,
        question,
        options,
        answer,
        () if free is None else (free,),
        kind=_text(item, "kind") if item.get("kind") is not None else "other",
        start=start,
        end=end,
        description=_text(item, "description") if item.get("description") is not None else "",
        fault=fault,
    )


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
    if len({options[number] for number in meant}) > 1:
        readings = " and ".join(repr(options[number]) for number in sorted(meant))
        other = "its text" if isinstance(answer, int) else "the index of the right option, a number"
        raise _Wrong(f"the answer {answer!r}, which may mean {readings}", other)
    return min(meant)


BENCHMARK = Benchmark("own", "your own questions", "choice", {"all": None}, _read, elsewhere=True)
