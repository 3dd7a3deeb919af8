"""Files of any length, read once from front to back: lines, CSV and JSON, plain or in gzip.

At most one line, or one member of a JSON document, is in memory at a time. What cannot be read is an InputError that
names the file and the line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from ..core.errors import InputError

LONGEST = 64 << 20
"""Bytes of a line, or characters of a JSON member, from which on a file is refused: no bad file fills the memory."""
_CHUNK = 1 << 16
_TOKEN = 16  # no JSON token other than a string is longer where a chunk may cut it
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Stream:
    """An open file. `line` is the number of the last line read, `size` and `position` are bytes on the disk.

    Raises InputError where there is no file, or an empty one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        try:
            if not path.is_file():
                found = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing there"
                raise InputError(f"{path}: found {found}; expected a file to read. Look at the path.")
            self.size = path.stat().st_size
            self._raw = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror}). Give a file that you may read.") from error
        if not self.size:
            self._raw.close()
            raise InputError(f"{path}: found an empty file; expected texts. Was it downloaded in full?")
        zipped = self._raw.peek(2)[:2] == b"\x1f\x8b"
        self._file: io.BufferedReader = (
            io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=self._raw))) if zipped else self._raw
        )

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()

    @property
    def position(self) -> int:
        """How far the file has been read: 0 to `size`."""
        return self._raw.tell()

    def bad(self, found: str, expected: str, line: int | None = None) -> InputError:
        """The error about a line, by default about the last one read."""
        where = f"{self.path}, line {line or self.line or 1}"
        found = " ".join(found.split())[:200]  # a paragraph, whatever the file holds
        return InputError(f"{where}: found {found}; expected {expected}. Correct the file, or give another one.")

    def lines(self) -> Iterator[str]:
        """The lines with their ends, decoded from UTF-8, without a byte order mark."""
        while raw := self._guarded(lambda: self._file.readline(LONGEST)):
            self.line += 1
            if len(raw) >= LONGEST:
                raise self.bad(f"a line of more than {LONGEST >> 20} MiB", "text in lines")
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                raise self.undecodable(raw[error.start]) from error
            yield text.removeprefix("\ufeff") if self.line == 1 else text

    def rows(self, delimiter: str = ",") -> Iterator[list[str]]:
        """The rows of a CSV file, its header among them; all of one length, empty lines left out."""
        width = 0
        try:
            for row in csv.reader(self.lines(), delimiter=delimiter, strict=True):
                width = width or len(row)
                if row and len(row) != width:
                    raise self.bad(f"{len(row)} columns", f"{width} as in the first line")
                if row:
                    yield row
        except csv.Error as error:
            raise self.bad(f"malformed CSV ({error})", "rows with quotes that close") from error

    def objects(self) -> Iterator[dict[str, Any]]:
        """The objects of a JSON Lines file; empty lines are left out."""
        for line in self.lines():
            if line.strip():
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise self.bad(f"malformed JSON ({error})", "one JSON object a line") from error
                if not isinstance(found, dict):
                    raise self.bad(f"JSON of type {type(found).__name__}", "one JSON object a line")
                yield found

    def members(self, inside: str | None = None) -> Iterator[Any]:
        """The values of the JSON object, or the items of the JSON list, that the file is.

        With `inside`, those of the object's member of that name. Raises InputError where there is none.
        """
        cursor = _Cursor(self)
        seen = False
        for _ in cursor.walk("{" if inside else "{["):
            if inside is None:
                yield cursor.value()
            elif cursor.key == inside:
                seen = True
                for _ in cursor.walk("{["):
                    yield cursor.value()
            else:
                cursor.value()
        if rest := cursor.peek():
            raise cursor.bad(f"{rest!r} after the end", "one JSON document")
        if inside and not seen:
            raise cursor.bad(f"no member {inside!r}", f'{{"{inside}": ...}}')

    def chunk(self) -> bytes:
        """The next bytes, for JSON; none at the end."""
        return self._guarded(lambda: self._file.read(_CHUNK))

    def undecodable(self, byte: int, line: int | None = None) -> InputError:
        """The error about a byte that is no text."""
        return self.bad(f"the byte 0x{byte:02x}, which is no UTF-8", "text in UTF-8", line)

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                f"{self.path}: can't be read to its end ({error}). It is damaged: get it again."
            ) from error


class _Cursor:
    """A place in a JSON document that is read in chunks. `key` is the name of the member one stands before."""

    def __init__(self, stream: Stream) -> None:
        self.key = ""
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer = ""
        self._at = 0
        self._lines = 0  # ends of lines in what has left the buffer, and in the buffer up to _counted
        self._counted = 0

    def walk(self, openers: str) -> Iterator[None]:
        """Stand before each value of an object or a list in turn; the caller reads the value."""
        closer = "}" if self._take(openers) == "{" else "]"
        if self.peek() == closer:
            self._take(closer)
            return
        while True:
            if closer == "}":
                if self.peek() != '"':
                    self._take('"')
                self.key = str(self.value())
                self._take(":")
            self.peek()
            self._stream.line = self._line()
            yield
            if self._take("," + closer) == closer:
                return

    def value(self) -> Any:
        """Read one value."""
        self.peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                # A value may only be cut by the end of the chunk; anything else is wrong for good.
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._buffer) - _TOKEN
                if cut and self._more():
                    continue
                raise self.bad(f"malformed JSON ({error.msg})", "a JSON value", error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.bad(f"malformed JSON ({error})", "a JSON value") from error
            if end < len(self._buffer) or not self._more():
                self._at = end
                return found

    def peek(self) -> str:
        """The next character that is no blank; nothing at the end."""
        while True:
            self._at = cast("re.Match[str]", _BLANK.match(self._buffer, self._at)).end()
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def bad(self, found: str, expected: str, at: int | None = None) -> InputError:
        """The error about this place, or about another one in the buffer."""
        line = self._line() + self._buffer.count("\n", self._at, self._at if at is None else at)
        return self._stream.bad(found, expected, line)

    def _line(self) -> int:
        self._lines += self._buffer.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._lines + 1

    def _take(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            raise self.bad(repr(found) if found else "the end of the file", " or ".join(map(repr, wanted)))
        self._at += 1
        return found

    def _more(self) -> bool:
        """Read on, and drop what has been read; False, and nothing changes, at the end.

        What is kept doubles, so that a long value is not decoded again for every chunk.
        """
        kept = len(self._buffer) - self._at
        if kept > LONGEST:
            raise self.bad(f"a value of more than {LONGEST >> 20} MiB", "a member for each video")
        parts: list[str] = []
        while sum(map(len, parts)) <= kept and (raw := self._stream.chunk()):
            try:
                parts.append(self._decode.decode(raw))
            except UnicodeDecodeError as error:
                before = "".join([self._buffer[self._at :], *parts, error.object[: error.start].decode()])
                line = self._line() + before.count("\n")
                raise self._stream.undecodable(error.object[error.start], line) from error
        if parts:
            self._line()
            self._buffer = "".join([self._buffer[self._at :], *parts])
            self._at = self._counted = 0
        return bool(parts)
