"""Readers of seed texts: public data sets in their published formats, and a user's own files.

Each reader yields one text at a time, and "" for an entry without one.
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
"""Kinds that name only a file format; the texts are a user's own."""
Reader = Callable[[Stream], Iterator[str]]

CAPTION_LENGTH = 300
"""Maximum length of a seed made from a video's captions: its first whole captions, at least one."""
_MARK = re.compile(r"#\s?(?:unsure|summary|c|o)\b", re.IGNORECASE)


def reader(kind: Kind, path: Path, *, column: str | None = None, field: str | None = None) -> Reader:
    """Return the reader for a kind and, if it is published in several formats, a suffix (ignoring .gz).

    column, field: of the text in csv and jsonl files; by default "text". Raises InputError for an unknown suffix.
    """
    match kind:
        case "wordnet":  # data.noun and index.noun are told apart by their lines, not by a suffix
            return _nouns
        case "text":
            return _lines
        case "csv":
            return partial(_column, name=column or "text", option="--column")
        case "jsonl":
            return partial(_field, name=field or "text", option="--field")
    readers = _READERS[kind]
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in readers:
        raise InputError(
            f"{path}: found the suffix {suffix!r}; expected {', '.join(sorted(readers))} for {kind}, also with .gz. "
            "Rename the file, or give another one."
        )
    return readers[suffix.lower()]


def _lines(stream: Stream) -> Iterator[str]:
    """Yield every line. JSON and binary data, which would pass as lines, are refused."""
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
    for record in stream.objects():
        yield _text(record, name, stream.bad, option)


def _howto100m_table(stream: Stream) -> Iterator[str]:
    """Read a table with titles, or the list of videos with the list of tasks beside it."""
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
    # The published list of tasks is a .csv too; only its name tells it apart before a line is read.
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
    """Read captions ({video: {"start": [], "end": [], "text": []}}), titles, or a list of objects with titles."""
    for member in stream.members():
        if isinstance(member, dict) and "text" in member:
            texts = member["text"]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise stream.bad(
                    "a 'text' that is no list of captions", '{"start": [...], "end": [...], "text": [...]}'
                )
            yield _opening(texts)
        else:
            yield member if isinstance(member, str) else _text(member, "title", stream.bad)


def _opening(captions: list[str]) -> str:
    opening: list[str] = []
    for caption in captions:
        if opening and len(" ".join([*opening, caption])) > CAPTION_LENGTH:
            break
        opening.append(caption)
    return " ".join(opening)


def _ego4d(stream: Stream) -> Iterator[str]:
    """Yield every narration and every summary of all passes."""
    for video in stream.members("videos"):
        passes = (
            [video[key] for key in video if key.startswith("narration_pass_")] if isinstance(video, dict) else [None]
        )
        for narration in passes:
            if not isinstance(narration, dict):
                raise stream.bad(f"a pass that is {narration!r:.40}", '{"narrations": [...], "summaries": [...]}')
            for group, name in (("narrations", "narration_text"), ("summaries", "summary_text")):
                for entry in narration.get(group) or []:
                    yield _MARK.sub(" ", _text(entry, name, stream.bad))


def _nouns(stream: Stream) -> Iterator[str]:
    """Yield the first word and the definition of each meaning in data.noun, or each word of index.noun."""
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


def _text(record: Any, name: str, bad: Callable[[str, str], InputError], option: str = "") -> str:
    text = record.get(name) if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise bad(f"{record!r:.60}", f"an object with a text {name!r}" + _or_named(option))
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
