"""Any Tideo of a file of JSON Lines at once: the file is memory-mapped, and an index beside it says where each line is.

The index is made on first use and made again when the file has changed.
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
from pydantic import ValidationError

from ..core.arrays import map_arrays, write_arrays
from ..core.errors import InputError, OutputError
from ..core.progress import bar
from ..core.string_table import NameTable
from .tideo import Tideo

SUFFIX = ".index"
_FORMAT = 1
_SAMPLES, _SAMPLE = 16, 1 << 16  # of the file: pieces, and bytes in one
_SHOWN = 1 << 24  # bytes between two steps of the bar
_ID_FIRST = re.compile(rb'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*")')


class TideoFile(Sequence[Tideo]):
    """A file of Tideos: its length, its ids, and each Tideo by its number, without reading the others.

    path: the file. ids: of all Tideos, in order; `ids.find(names)` gives their numbers.
    """

    def __init__(self, path: Path, data: bytes | mmap.mmap, ends: NDArray[np.int64], ids: NameTable) -> None:
        self.path, self.ids = path, ids
        self._data, self._ends = data, ends

    @classmethod
    def open(cls, path: Path, *, show: bool = True) -> TideoFile:
        """Open a file, with the index beside it where there is one that fits, else with one that is made now.

        Where the folder can't be written, the index stays in memory. Raises InputError that names the file and the
        line where one is no JSON object with an id, or an id comes twice, and where there is no Tideo at all.
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
            found = map_arrays(beside)
            if found.about == about:
                return cls(path, data, found.arrays["line_ends"], NameTable.from_arrays(found.arrays))
        ends, ids = _scan(path, data, size, show)
        # Without a place for it the index is made again next time.
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
        """The Tideo of a number, or those of some. Raises InputError where a line is no Tideo."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        try:
            tideo = Tideo.model_validate_json(self.line(number))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise InputError(
                f"{self.path}:{number + 1}: {where}: {first['msg']}. Mend or remove the line, and remove "
                f"{self.path.name}{SUFFIX} where the file was changed."
            ) from error
        if tideo.id != self.ids[number]:
            raise InputError(
                f"{self.path}:{number + 1}: found the id {tideo.id!r}; expected {self.ids[number]!r}, as in "
                f"{self.path.name}{SUFFIX}. The file was changed: remove the index."
            )
        return tideo

    def line(self, number: int) -> bytes:
        """One line as it stands in the file. number: from 0 on."""
        return self._data[int(self._ends[number - 1]) if number else 0 : int(self._ends[number])]


def _scan(path: Path, data: bytes | mmap.mmap, size: int, show: bool) -> tuple[NDArray[np.int64], NameTable]:
    """Where each line ends, and the ids."""
    ends: list[int] = []
    ids: list[str] = []
    with bar(f"index {path.name}", size >> 20, show=show) as line:
        start = shown = 0
        while start < size:
            end = (data.find(b"\n", start) + 1) or size
            ids.append(_id(data[start:end], path, len(ends) + 1))
            ends.append(end)
            start = end
            if end - shown >= _SHOWN:
                line.advance((end >> 20) - (shown >> 20))
                shown = end
    names = NameTable.of(ids)
    if (double := names.double()) is not None:
        first, second = double
        raise InputError(
            f"{path}:{second + 1}: found the id {ids[second]!r} again, which is in line {first + 1}; expected "
            "ids that differ. Rename one of them; topa clean leaves doubles out."
        )
    return np.array(ends, np.int64), names


def _id(line: bytes, path: Path, number: int) -> str:
    try:
        # As topa writes it, the id comes first: the rest is not looked at before it is asked for.
        quick = _ID_FIRST.match(line)
        found = json.loads(quick[1]) if quick else json.loads(line)["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}:{number}: found no JSON object with an id ({error}); expected a Tideo. Mend or remove the line."
        ) from error
    if not isinstance(found, str) or not found.strip():
        raise InputError(f"{path}:{number}: id: found {found!r}; expected a text. Mend or remove the line.")
    return found.strip()


def _sample(data: bytes | mmap.mmap, size: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for piece in range(_SAMPLES):
        start = (size - _SAMPLE) * piece // (_SAMPLES - 1) if size > _SAMPLE else 0
        digest.update(data[start : start + _SAMPLE])
    return digest.hexdigest()
