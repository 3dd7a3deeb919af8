"""Read and write TextVid, the data set published with TOPA.

`textvid.json` is one JSON list of gigabytes, read in chunks. Each item:

    idx                    a string or a number
    frames                 dicts; every value is one caption, the first of them that of the whole frame
    global_video_caption   the description
    QAs                    question, options (up to 5), answer (a letter), answer_open_ended (optional); files written
                           by topa also have kind, which the published ones lack

The keys of a frame are arbitrary and aren't kept. Every key has a row in the published features, even without a
caption; if the numbers differ, `Tideo.source["textvid"]["rows"]` holds the number of rows of each frame.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from ..core.artifacts import atomic_file
from ..core.errors import InputError
from .drop_counts import DropCounts
from .tideo import Question, TextFrame, Tideo

LETTERS = "ABCDE"
_FIELDS = ("idx", "frames", "QAs", "global_video_caption")
_CHUNK = 1 << 18  # characters; a record has a few thousand
_LONGEST = 1 << 24  # characters; a record that doesn't end by then is damaged
_KIND: str = Question.model_fields["kind"].default
_SPACE = re.compile(r"[ \t\r\n]*")
_LETTER = re.compile(r"\s*\(?([A-Ea-e])\)?[.:]?\s*")


class Unusable(ValueError):
    """A record or a question can't be converted; the message is the reason."""


def read_textvid(path: Path, tally: DropCounts) -> Iterator[Tideo]:
    """Yield the usable records of `textvid.json` as Tideos, in bounded memory (plus 100 bytes per id).

    tally: counts what is dropped, by reason: whole records ("record: ..."), single questions ("question: ...") and
    captions without words ("caption: ..."), of which the rest of the record is used.
    Raises InputError, with the position, if the file is no JSON list, cut off, or damaged.
    """
    id_hashes: set[int] = set()
    for number, record in enumerate(_items(path)):
        name = str(record.get("idx", f"item {number}")) if isinstance(record, dict) else f"item {number}"
        try:
            tideo = to_tideo(record, tally)
            if hash(tideo.id) in id_hashes:
                raise Unusable("its idx came before")
        except Unusable as reason:
            tally.add(f"record: {reason}", name)
            continue
        id_hashes.add(hash(tideo.id))  # 64 bits each, instead of the ids
        yield tideo


def to_tideo(record: Any, tally: DropCounts) -> Tideo:
    """Convert one record to a Tideo; unusable questions and captions are dropped and counted.

    Raises Unusable, with the reason, if the record as a whole is unusable.
    """
    if not isinstance(record, dict):
        raise Unusable("not an object")
    idx = record.get("idx")
    if isinstance(idx, bool) or not isinstance(idx, str | int) or not str(idx).strip():
        raise Unusable("no idx")
    name = str(idx)
    description = record.get("global_video_caption")
    if not isinstance(description, str) or not description.strip():
        raise Unusable("no global_video_caption")
    frames = record.get("frames")
    if not isinstance(frames, list) or not frames:
        raise Unusable("no frames")
    items = record.get("QAs", [])
    if not isinstance(items, list):
        raise Unusable("QAs are no list")
    try:
        text_frames = [_frame(frame, name, tally) for frame in frames]
        rows = [len(frame) for frame in frames]
        own: dict[str, Any] = {} if isinstance(idx, str) else {"idx": idx}
        if rows != [1 + len(frame.objects) for frame in text_frames]:
            own["rows"] = rows
        others = {k: v for k, v in record.items() if k not in _FIELDS and isinstance(v, str | int | float)}
        questions = tuple(q for q in (_question(item, name, tally) for item in items) if q is not None)
        return Tideo(
            id=name,
            frames=tuple(text_frames),
            description=description,
            questions=questions,
            source={**others, "textvid": own},
        )
    except ValidationError as error:
        raise Unusable(error.errors()[0]["msg"]) from error


def to_record(tideo: Tideo) -> dict[str, Any]:
    """Convert a Tideo to the published format. Raises Unusable if a question has more than five options."""
    own = tideo.source.get("textvid", {})
    return {
        "idx": own.get("idx", tideo.id),
        "frames": [
            {"frame caption": f.caption, **{f"object caption {i}": o for i, o in enumerate(f.objects, start=1)}}
            for f in tideo.frames
        ],
        "QAs": [_qa_record(question) for question in tideo.questions],
        "global_video_caption": tideo.description,
        **{k: v for k, v in tideo.source.items() if k not in (*_FIELDS, "textvid")},
    }


def write_textvid(tideos: Iterable[Tideo], path: Path) -> int:
    """Write `textvid.json` atomically; return the number of Tideos.

    Raises InputError for a Tideo that the format can't hold, OutputError if the folder can't be written.
    """
    number = 0
    with atomic_file(path) as file:
        file.write(b"[")
        for number, tideo in enumerate(tideos, start=1):
            try:
                text = json.dumps(to_record(tideo), ensure_ascii=False)
            except Unusable as error:
                raise InputError(
                    f"{path}: Tideo {tideo.id!r} can't be written as TextVid: {error}. Leave it out, or export jsonl."
                ) from error
            file.write((b",\n" if number > 1 else b"\n") + text.encode())
        file.write(b"\n]\n")
    return number


def _frame(frame: Any, name: str, tally: DropCounts) -> TextFrame:
    if not isinstance(frame, dict) or not frame:
        raise Unusable("a frame that is not an object of captions")
    captions = [text for text in frame.values() if isinstance(text, str) and text.strip()]
    if not captions:
        raise Unusable("a frame without a caption")
    for _ in range(len(frame) - len(captions)):
        tally.add("caption: no words", name)
    return TextFrame(caption=captions[0], objects=tuple(captions[1:]))


def _question(item: Any, name: str, tally: DropCounts) -> Question | None:
    try:
        if not isinstance(item, dict):
            raise Unusable("not an object")
        options, answer, free = item.get("options") or [], item.get("answer"), item.get("answer_open_ended")
        if not isinstance(options, list) or len(options) > len(LETTERS):
            raise Unusable("options are no list of up to 5")
        index = None
        if options and answer is not None:
            letter = _LETTER.fullmatch(answer) if isinstance(answer, str) else None
            index = LETTERS.index(letter[1].upper()) if letter else len(options)
            if index >= len(options):
                raise Unusable("the answer is no letter of an option")
        text = free if isinstance(free, str) and free.strip() else None
        if index is None and text is None:
            raise Unusable("no answer")
        kind = item.get("kind")
        return Question(
            question=item.get("question"),
            kind=kind if isinstance(kind, str) and kind.strip() else _KIND,
            options=tuple(options),
            answer=index,
            answer_text=text,
        )
    except Unusable as reason:
        tally.add(f"question: {reason}", name)
    except ValidationError as error:
        first = error.errors()[0]
        # topa's own messages quote the options; as a reason, keep only the common part.
        message = first["msg"].removeprefix("Value error, ").partition(":")[0].partition(", found")[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        tally.add(f"question: {where}{message}", name)
    return None


def _qa_record(question: Question) -> dict[str, Any]:
    if len(question.options) > len(LETTERS):
        raise Unusable(f"a question has {len(question.options)} options, there are letters for {len(LETTERS)}")
    record: dict[str, Any] = {"question": question.question, "options": list(question.options)}
    if question.kind != _KIND:
        record["kind"] = question.kind
    if question.answer is not None:
        record["answer"] = LETTERS[question.answer]
    if question.answer_text is not None:
        record["answer_open_ended"] = question.answer_text
    return record


def _items(path: Path) -> Iterator[Any]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _Window(path, file).items()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}). Expected textvid.json. Download it again.") from error


class _Window:
    """A sliding window over the text of a JSON list."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._at, self._passed, self._at_end = "", 0, 0, False

    def items(self) -> Iterator[Any]:
        decoder = json.JSONDecoder()
        if (character := self._next()) != "[":
            raise self._error(f"found {character!r} at the start; expected '[', a JSON list")
        self._at += 1
        number = 0
        while (character := self._next()) != "]" or number:
            if character == "]":
                break
            if number:
                if character != ",":
                    raise self._error(f"found {character!r} behind item {number - 1}; expected ',' or ']'")
                self._at += 1
                self._next()
            yield self._decode(decoder, number)
            number += 1
        self._at += 1
        if character := self._next():
            raise self._error(f"found {character!r} behind the list; expected its end")

    def _decode(self, decoder: json.JSONDecoder, number: int) -> Any:
        chunk = _CHUNK
        while True:
            try:
                item, end = decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or self._at_end:  # else a number might go on
                    self._at = end
                    return item
                reason = ""
            except (ValueError, RecursionError) as error:
                reason = f": {getattr(error, 'msg', 'nested too deeply')}"
                if isinstance(error, RecursionError):
                    raise self._error(f"item {number} can't be read{reason}") from error
            if self._at_end or len(self._text) - self._at > _LONGEST:
                raise self._error(f"item {number} is damaged or cut off{reason}")
            self._more(chunk)
            chunk *= 2

    def _next(self) -> str:
        """Return the next non-space character without consuming it; "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._at_end:
                return ""
            self._more(_CHUNK)

    def _more(self, size: int) -> None:
        fresh = self._file.read(size)
        self._at_end = not fresh
        self._passed += self._at
        self._text, self._at = self._text[self._at :] + fresh, 0

    def _error(self, what: str) -> InputError:
        return InputError(
            f"{self._path}: at character {self._passed + self._at:,}: {what}. Download or write the file again."
        )
