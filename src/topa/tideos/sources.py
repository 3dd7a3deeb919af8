"""Texts of public data sets, in the files that these are published as, and of a user's own domain.

Each reader gives one text at a time, and an empty one where the source has no text in a place for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from ..core.errors import InputError
from .streams import Stream

Kind = Literal["howto100m", "webvid", "ego4d", "wordnet", "text", "csv", "jsonl"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OWN: tuple[Kind, ...] = ("text", "csv", "jsonl")
"""Kinds that say only how a file is written: what is in it is a user's own."""
Reader = Callable[[Stream], Iterator[str]]

CAPTION_LENGTH = 300
"""Characters of a video's speech that make its seed: whole captions from the first on, one of them at least."""
_MARK = re.compile(r"#\s?(?:unsure|summary|c|o)\b", re.IGNORECASE)


def reader(kind: Kind, path: Path, *, column: str | None = None, field: str | None = None) -> Reader:
    """The reader for a kind and, where it is published in several forms, the file's suffix (without .gz).

    `column` and `field`: where the text is in files of the kinds csv and jsonl; by default "text".
    Raises InputError for a suffix that has none.
    """
    match kind:
        case "wordnet":  # the names are data.noun and index.noun: the suffix says nothing, the lines say it
            return _nouns
        case "text":
            return _lines
        case "csv":
            return partial(_column, name=column or "text", option="--column")
        case "jsonl":
            return partial(_field, name=field or "text", option="--field")
    known = _READERS[kind]
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in known:
        raise InputError(
            f"{path}: found the suffix {suffix!r}; expected {', '.join(sorted(known))} for {kind}, also with .gz. "
            "Rename the file, or give another one."
        )
    return known[suffix.lower()]


def _lines(stream: Stream) -> Iterator[str]:
    """Every line. JSON and binary data, which would pass as lines, are refused."""
    for line in stream.lines():
        if "\0" in line:
            raise stream.bad("the byte 0x00, which is in no text", "a text a line")
        if line.startswith("{") and _is_object(line):
            raise stream.bad("a JSON object", "a text a line; JSON Lines are read with jsonl=FILE or --kind jsonl")
        yield line


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _column(stream: Stream, *, name: str, option: str = "") -> Iterator[str]:
    rows = stream.rows()
    header = next(rows, [])
    if name not in header:
        columns = f"the columns {', '.join(header) or 'of nothing'}"
        raise stream.bad(columns, f"a column {name!r} among them" + _or_named(option))
    at = header.index(name)
    for row in rows:
        yield row[at]


def _field(stream: Stream, *, name: str, option: str = "") -> Iterator[str]:
    for found in stream.objects():
        yield _text(found, name, stream.bad, option)


def _howto100m_table(stream: Stream) -> Iterator[str]:
    """A table with titles; the list of tasks; or the list of videos, with the list of tasks beside it."""
    rows = stream.rows()
    first = next(rows, [])
    if "title" in first:
        at = first.index("title")
        for row in rows:
            yield row[at]
        return
    if "\t" in "".join(first):
        raise stream.bad("a table with tabs", "commas; only the list of tasks, task_ids.csv, has tabs")
    if "task_id" not in first:
        raise stream.bad(f"the columns {', '.join(first)}", "'title', or 'task_id' of HowTo100M_v1.csv")
    at = first.index("task_id")
    beside = stream.path.with_name("task_ids.csv")
    if not beside.is_file():
        raise InputError(
            f"{stream.path}: found videos with numbers of tasks; expected the titles of the tasks in {beside}. "
            "Put the task_ids.csv of HowTo100M there."
        )
    with Stream(beside) as tasks:
        titles = dict(_tasks(tasks))
    for row in rows:
        yield titles.get(row[at], "")


def _howto100m_csv(stream: Stream) -> Iterator[str]:
    # The published list of tasks is a .csv too. Its name is what tells it apart before a line is read.
    if stream.path.name.removesuffix(".gz") == "task_ids.csv":
        return (title for _, title in _tasks(stream))
    return _howto100m_table(stream)


def _tasks(stream: Stream) -> Iterator[tuple[str, str]]:
    for line in stream.lines():
        if line.strip():
            number, tab, title = line.rstrip("\r\n").partition("\t")
            if not tab or not number.strip().isdigit():
                raise stream.bad(repr(line[:40].strip()), "the number of a task, a tab and its title")
            yield number.strip(), title


def _howto100m_json(stream: Stream) -> Iterator[str]:
    """Captions ({video: {"start": [], "end": [], "text": []}}), or titles, or a list of objects with titles."""
    for found in stream.members():
        if isinstance(found, dict) and "text" in found:
            texts = found["text"]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise stream.bad(
                    "a 'text' that is no list of captions", '{"start": [...], "end": [...], "text": [...]}'
                )
            yield _opening(texts)
        else:
            yield found if isinstance(found, str) else _text(found, "title", stream.bad)


def _opening(captions: list[str]) -> str:
    taken: list[str] = []
    for caption in captions:
        if taken and len(" ".join([*taken, caption])) > CAPTION_LENGTH:
            break
        taken.append(caption)
    return " ".join(taken)


def _ego4d(stream: Stream) -> Iterator[str]:
    """Every narration and every summary, of all passes."""
    for video in stream.members("videos"):
        passes = (
            [video[key] for key in video if key.startswith("narration_pass_")] if isinstance(video, dict) else [None]
        )
        for found in passes:
            if not isinstance(found, dict):
                raise stream.bad(f"a pass that is {found!r:.40}", '{"narrations": [...], "summaries": [...]}')
            for group, name in (("narrations", "narration_text"), ("summaries", "summary_text")):
                for entry in found.get(group) or []:
                    yield _MARK.sub(" ", _text(entry, name, stream.bad))


def _nouns(stream: Stream) -> Iterator[str]:
    """Of data.noun: the first word of each meaning, and its definition. Of index.noun: each word."""
    for line in stream.lines():
        if line.startswith("  ") or not line.strip():
            continue  # the licence
        head, _, gloss = line.partition("|")
        fields = head.split()
        if len(fields) > 6 and fields[0].isdigit() and fields[2] == "n":
            definition = gloss.partition('; "')[0].strip()  # what follows are examples in quotes
            yield f"{_words(fields[4])}: {definition}"
        elif len(fields) > 6 and fields[1] == "n":
            yield _words(fields[0])
        else:
            raise stream.bad(repr(line[:40].strip()), "a line of WordNet's data.noun or index.noun")


def _words(lemma: str) -> str:
    return lemma.replace("_", " ")


def _text(found: Any, name: str, bad: Callable[[str, str], InputError], option: str = "") -> str:
    text = found.get(name) if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise bad(f"{found!r:.60}", f"an object with a text {name!r}" + _or_named(option))
    return text


def _or_named(option: str) -> str:
    return f", or the name of another one with {option}" if option else ""


_READERS: dict[Kind, dict[str, Reader]] = {
    "howto100m": {
        ".csv": _howto100m_csv,
        ".json": _howto100m_json,
        ".jsonl": partial(_field, name="title"),
    },
    "webvid": {".csv": partial(_column, name="name")},
    "ego4d": {".json": _ego4d},
}
