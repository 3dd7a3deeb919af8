"""Random access to the Tideos of a JSON Lines file, by memory-mapping and an index of the lines.

The index lies beside the file. It is made on first use, and again when the file has changed.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import map_arrays, write_arrays
from ..core.errors import InputError, OutputError
from ..core.progress import bar
from ..core.string_table import NameTable
from .jsonl import parse_line
from .tideo import Tideo

SUFFIX = ".index"
_FORMAT = 1
_SAMPLES, _SAMPLE = 16, 1 << 16  # number and size, in bytes, of the samples that detect a changed file
_BAR_STEP = 1 << 24  # bytes between two updates of the bar
_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*")')


class TideoFile(Sequence[Tideo]):
    """A sequence of the Tideos in a file, each read on access.

    path: the file. ids: of all Tideos, in order; `ids.find(names)` gives their positions.
    """

    def __init__(self, path: Path, data: bytes | mmap.mmap, ends: NDArray[np.int64], ids: NameTable) -> None:
        self.path, self.ids = path, ids
        self._data, self._ends = data, ends

    @classmethod
    def open(cls, path: Path, *, show: bool = True) -> TideoFile:
        """Open a file with the index beside it, or make the index if it is missing or outdated.

        If the folder can't be written, the index stays in memory. Raises InputError, with file and line, if a line is
        no JSON object with an id, an id is repeated, or the file has no Tideos.
        """
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror}). Expected Tideos as JSON Lines.") from error
        if not size:
            raise InputError(f"{path}: found no Tideos; expected one JSON object a line.")
        about = {"format": _FORMAT, "size": size, "sample": _sample(data, size)}
        beside = path.with_name(path.name + SUFFIX)
        with suppress(OSError, ValueError, KeyError):
            index = map_arrays(beside)
            if index.about == about:
                return cls(path, data, index.arrays["line_ends"], NameTable.from_arrays(index.arrays))
        ends, ids = _scan(path, data, size, show)
        # If it can't be written, the index is made again next time.
        with suppress(OutputError):
            write_arrays(beside, {"line_ends": ends, **ids.arrays()}, about)
        return cls(path, data, ends, ids)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Tideo]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Tideo: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tideo]: ...
    def __getitem__(self, index: int | slice) -> Tideo | list[Tideo]:
        """Return one Tideo, or a list for a slice. Raises InputError if a line is no Tideo."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        advice = f", and remove {self.path.name}{SUFFIX} where the file was changed"
        tideo = parse_line(self.line(number), self.path, number + 1, advice)
        if tideo.id != self.ids[number]:
            raise InputError(
                f"{self.path}:{number + 1}: found the id {tideo.id!r}; expected {self.ids[number]!r}, as in "
                f"{self.path.name}{SUFFIX}. The file was changed: remove the index."
            )
        return tideo

    def line(self, number: int) -> bytes:
        """Return one unparsed line. number: 0 or more."""
        return self._data[int(self._ends[number - 1]) if number else 0 : int(self._ends[number])]


def _scan(path: Path, data: bytes | mmap.mmap, size: int, show: bool) -> tuple[NDArray[np.int64], NameTable]:
    """Return the end of each line, and the ids."""
    ends: list[int] = []
    ids: list[str] = []
    with bar(f"index {path.name}", size >> 20, show=show) as line:
        start = reported = 0
        while start < size:
            end = (data.find(b"\n", start) + 1) or size
            ids.append(_id(data[start:end], path, len(ends) + 1))
            ends.append(end)
            start = end
            if end - reported >= _BAR_STEP:
                line.advance((end >> 20) - (reported >> 20))
                reported = end
    names = NameTable.of(ids)
    if (duplicate := names.duplicate()) is not None:
        first, second = duplicate
        raise InputError(
            f"{path}:{second + 1}: found the id {ids[second]!r} again, which is in line {first + 1}; expected "
            "ids that differ. Rename one of them; topa clean leaves doubles out."
        )
    return np.array(ends, np.int64), names


def _id(line: bytes, path: Path, number: int) -> str:
    try:
        # In files that topa wrote the id comes first, so that the rest needn't be parsed.
        quick = _ID_FIRST.match(line)
        name = json.loads(quick[1]) if quick else json.loads(line)["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}:{number}: found no JSON object with an id ({error}); expected a Tideo. Mend or remove the line."
        ) from error
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{path}:{number}: id: found {name!r}; expected a text. Mend or remove the line.")
    return name.strip()


def _sample(data: bytes | mmap.mmap, size: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for piece in range(_SAMPLES):
        start = (size - _SAMPLE) * piece // (_SAMPLES - 1) if size > _SAMPLE else 0
        digest.update(data[start : start + _SAMPLE])
    return digest.hexdigest()
