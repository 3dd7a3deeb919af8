"""The files of data sets, as they are published: where they lie, and their records, read fast.

JSON goes through typed structs that skip every field nobody asks for. What that reader refuses is read once more by
Python's own, which accepts NaN and knows the line of what is wrong. What can't be read is an InputError that names the
file and the place.
"""

from __future__ import annotations

import gzip
import json
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from ..core.errors import InputError, UsageError
from ..core.install import install_line
from ..tideos.streams import Stream

T = TypeVar("T", bound=msgspec.Struct)
Made = TypeVar("Made")
_GZIP = b"\x1f\x8b"


def located(data: Path, names: Sequence[str], what: str, folders: Sequence[str] = ("",)) -> Path:
    """The first of these files that is in one of these folders below `data`.

    Raises InputError that lists what was looked for.
    """
    if not data.is_dir():
        found = "a file" if data.exists() else "nothing there"
        raise InputError(f"{data}: found {found}; expected the folder with {what}. Name it with --data.")
    looked = [f"{folder}/{name}" if folder else name for folder in folders for name in names]
    for place in looked:
        if (data / place).is_file():
            return data / place
    raise InputError(
        f"{data}: found none of {', '.join(looked)}; expected {what}. Put the published file there, under its own "
        "name, or name another folder with --data."
    )


class VideoFiles:
    """Where videos lie below a folder. A folder is listed once, not asked for each video."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, frozenset[str]] = {}

    def find(self, *names: str) -> Path:
        """The first of these that is there; where none is, the last one. Names that lead out of the folder aren't
        followed."""
        inside = [name for name in names if _stays(name)]
        for name in inside:
            folder, _, file = name.rpartition("/")
            if folder not in self._names:
                self._names[folder] = _listed(self._root / folder)
            if file in self._names[folder]:
                return self._root / name
        return self._root / (inside[-1] if inside else PurePosixPath(names[-1]).name)


def _stays(name: str) -> bool:
    if name.startswith("/") or "\0" in name:
        return False
    return ".." not in name or ".." not in name.split("/")


def _listed(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()


def items(path: Path, kind: type[T], build: Callable[[T], Made], what: str, fields: str) -> Iterator[Made]:
    """What `build` makes of each item of a JSON list. what, fields: how errors call an item, and what it needs.

    A ValueError of `build` counts as an item of another kind. Raises InputError that names the line.
    """
    yield from _records(path, kind, build, Stream.members, (f"an item that isn't {what}", fields))


def lines(path: Path, kind: type[T], build: Callable[[T], Made], what: str, fields: str) -> Iterator[Made]:
    """The same of a JSON Lines file."""
    yield from _records(path, kind, build, Stream.objects, (f"a line that isn't {what}", fields))


def rows(path: Path, kind: type[T], build: Callable[[T], Made], what: str, fields: str) -> Iterator[Made]:
    """The same of a file of rows: `.parquet`, `.jsonl`, or a JSON list. Raises UsageError where pyarrow is missing."""
    if path.suffix == ".parquet":
        yield from _parquet(path, kind, build, what, fields)
    else:
        yield from (lines if path.suffix == ".jsonl" else items)(path, kind, build, what, fields)


def document(path: Path, kind: Any, expected: str) -> Any:
    """A JSON file as one value of a type. Raises InputError that names the place, by line or by path."""
    with Stream(path):
        pass  # there, a file, not empty
    found = _decoded(path, lambda content: msgspec.json.decode(content, type=kind))
    if found is not None:
        return found
    try:
        with _content(path) as content:
            return msgspec.convert(json.loads(bytes(content).decode("utf-8-sig")), kind)
    except json.JSONDecodeError as error:
        told = f"malformed JSON ({error.msg}) in line {error.lineno}, column {error.colno}"
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        told = str(error)
    raise InputError(f"{path}: can't be read: found {told}; expected {expected}. Download it again, or correct it.")


def table(path: Path, columns: Sequence[str], hint: str = "") -> Iterator[tuple[Stream, dict[str, str]]]:
    """The rows of a CSV file by the names of its columns, each with the stream that stands behind it.

    Raises InputError where one of `columns` is missing (hint: what to look at then), or a row has another length.
    """
    with Stream(path) as stream:
        found = stream.rows()
        header = [name.strip() for name in next(found, [])]
        if missing := [name for name in columns if name not in header]:
            raise stream.bad(f"no column {', '.join(missing)}{hint}", f"the columns {', '.join(columns)}")
        for row in found:
            yield stream, dict(zip(header, row, strict=True))


Read = Callable[[Stream], Iterator[Any]]


def _records(
    path: Path, kind: type[T], build: Callable[[T], Made], read: Read, told: tuple[str, str]
) -> Iterator[Made]:
    with Stream(path):
        pass  # there, a file, not empty
    found = _fast(path, kind, read)
    if found is None:
        yield from _slow(path, kind, build, read, told)
        return
    for number, item in enumerate(found):
        try:
            made = build(item)
        except ValueError as error:
            raise _bad(path, read, number, told, error) from error
        yield made


def _fast(path: Path, kind: type[T], read: Read) -> Any:
    """A list of all records, or None where the fast reader refuses the file."""
    if read is Stream.members:
        return _decoded(path, lambda content: msgspec.json.decode(content, type=list[kind]))  # type: ignore[valid-type]
    decoder = msgspec.json.Decoder(kind)
    return _decoded(path, decoder.decode_lines)


def _decoded(path: Path, decode: Callable[[Any], Any]) -> Any:
    try:
        with _content(path) as content:
            return decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, EOFError, OSError):
        return None


def _slow(path: Path, kind: type[T], build: Callable[[T], Made], read: Read, told: tuple[str, str]) -> Iterator[Made]:
    with Stream(path) as stream:
        for item in read(stream):
            try:
                made = build(msgspec.convert(item, kind))
            except ValueError as error:  # msgspec's are ValueErrors
                raise stream.bad(f"{told[0]} ({error})", told[1]) from error
            yield made


def _bad(path: Path, read: Read, number: int, told: tuple[str, str], error: ValueError) -> InputError:
    with Stream(path) as stream:
        for _, _ in zip(range(number + 1), read(stream), strict=False):
            pass
        return stream.bad(f"{told[0]} ({error})", told[1])


@contextmanager
def _content(path: Path) -> Iterator[mmap.mmap | bytes]:
    with path.open("rb") as file:
        if file.peek(2)[:2] == _GZIP:
            yield gzip.decompress(file.read())
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _parquet(path: Path, kind: type[T], build: Callable[[T], Made], what: str, fields: str) -> Iterator[Made]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(f"{path}: reading Parquet needs pyarrow: {install_line('data')}") from error
    wanted = {field.encode_name for field in msgspec.structs.fields(kind)}
    try:
        names = [name for name in pq.read_schema(path).names if name in wanted]
        told = pq.read_table(path, columns=names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: can't be read as Parquet ({error}); expected rows with {fields}. Download it again."
        ) from error
    for number, row in enumerate(told, start=1):
        try:
            made = build(msgspec.convert(row, kind))
        except ValueError as error:
            raise InputError(
                f"{path}, row {number}: found a row that isn't {what} ({error}); expected {fields}. Download it again."
            ) from error
        yield made
