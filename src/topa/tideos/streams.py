"""Sequential readers for files of any size: lines, CSV and JSON, plain or gzipped.

At most one line, or one member of a JSON document, is in memory at a time. Errors are InputErrors that name the file
and the line.
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
"""Maximum bytes of a line, or characters of a JSON member, so that a malformed file can't fill the memory."""
_CHUNK = 1 << 16
_TOKEN = 16  # maximum length of a JSON token, other than a string, that the end of a chunk may cut
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class Stream:
    """An open file. line: number of the last line read. size, position: in bytes on the disk.

    Raises InputError if the file is missing or empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        try:
            if not path.is_file():
                kind = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing there"
                raise InputError(f"{path}: found {kind}; expected a file to read. Look at the path.")
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
        """Close the file."""
        self._raw.close()

    @property
    def position(self) -> int:
        """Position in the file, 0 to `size`."""
        return self._raw.tell()

    def bad(self, actual: str, expected: str, line: int | None = None) -> InputError:
        """Return the error about a line, by default the last one read."""
        where = f"{self.path}, line {line or self.line or 1}"
        actual = " ".join(actual.split())[:200]  # one short line, whatever the file holds
        return InputError(f"{where}: found {actual}; expected {expected}. Correct the file, or give another one.")

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends, decoded from UTF-8, without a byte order mark."""
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
        """Yield the rows of a CSV file, including its header; all of one length, without empty lines."""
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
        """Yield the objects of a JSON Lines file, without empty lines."""
        for line in self.lines():
            if line.strip():
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise self.bad(f"malformed JSON ({error})", "one JSON object a line") from error
                if not isinstance(record, dict):
                    raise self.bad(f"JSON of type {type(record).__name__}", "one JSON object a line")
                yield record

    def members(self, inside: str | None = None) -> Iterator[Any]:
        """Yield the values of the file's JSON object, or the items of its JSON list.

        inside: yield those of the member of this name instead. Raises InputError if there is no such member.
        """
        cursor = _Cursor(self)
        has_member = False
        for _ in cursor.walk("{" if inside else "{["):
            if inside is None:
                yield cursor.value()
            elif cursor.key == inside:
                has_member = True
                for _ in cursor.walk("{["):
                    yield cursor.value()
            else:
                cursor.value()
        if rest := cursor.peek():
            raise cursor.bad(f"{rest!r} after the end", "one JSON document")
        if inside and not has_member:
            raise cursor.bad(f"no member {inside!r}", f'{{"{inside}": ...}}')

    def chunk(self) -> bytes:
        """Read the next bytes; b"" at the end."""
        return self._guarded(lambda: self._file.read(_CHUNK))

    def undecodable(self, byte: int, line: int | None = None) -> InputError:
        """Return the error about a byte that isn't UTF-8."""
        return self.bad(f"the byte 0x{byte:02x}, which is no UTF-8", "text in UTF-8", line)

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                f"{self.path}: can't be read to its end ({error}). It is damaged: get it again."
            ) from error


class _Cursor:
    """A position in a JSON document that is read in chunks. key: name of the member at the position."""

    def __init__(self, stream: Stream) -> None:
        self.key = ""
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer = ""
        self._at = 0
        self._lines = 0  # ends of lines in what has left the buffer, and in the buffer up to _counted
        self._line_end = 0

    def walk(self, openers: str) -> Iterator[None]:
        """Move to each value of an object or a list in turn; the caller reads the value."""
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
                result, end = _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                # Only a value cut by the end of the chunk can become valid by reading on.
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._buffer) - _TOKEN
                if cut and self._more():
                    continue
                raise self.bad(f"malformed JSON ({error.msg})", "a JSON value", error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.bad(f"malformed JSON ({error})", "a JSON value") from error
            if end < len(self._buffer) or not self._more():
                self._at = end
                return result

    def peek(self) -> str:
        """Return the next non-blank character; "" at the end."""
        while True:
            self._at = cast("re.Match[str]", _BLANK.match(self._buffer, self._at)).end()
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def bad(self, actual: str, expected: str, at: int | None = None) -> InputError:
        """Return the error about this position, or another one in the buffer."""
        line = self._line() + self._buffer.count("\n", self._at, self._at if at is None else at)
        return self._stream.bad(actual, expected, line)

    def _line(self) -> int:
        self._lines += self._buffer.count("\n", self._line_end, self._at)
        self._line_end = self._at
        return self._lines + 1

    def _take(self, allowed: str) -> str:
        character = self.peek()
        if not character or character not in allowed:
            raise self.bad(repr(character) if character else "the end of the file", " or ".join(map(repr, allowed)))
        self._at += 1
        return character

    def _more(self) -> bool:
        """Read the next chunk into the buffer and drop what precedes the position; False at the end of the file.

        The buffer at least doubles, so that a long value isn't parsed again for every chunk.
        """
        remaining = len(self._buffer) - self._at
        if remaining > LONGEST:
            raise self.bad(f"a value of more than {LONGEST >> 20} MiB", "a member for each video")
        parts: list[str] = []
        while sum(map(len, parts)) <= remaining and (raw := self._stream.chunk()):
            try:
                parts.append(self._decode.decode(raw))
            except UnicodeDecodeError as error:
                before = "".join([self._buffer[self._at :], *parts, error.object[: error.start].decode()])
                line = self._line() + before.count("\n")
                raise self._stream.undecodable(error.object[error.start], line) from error
        if parts:
            self._line()
            self._buffer = "".join([self._buffer[self._at :], *parts])
            self._at = self._line_end = 0
        return bool(parts)
