"""Many texts as one block of bytes: a million of them open in no time and cost no memory until they are read.

Ids of a feature store, ids of a file of Tideos, captions of a memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class StringTable(Sequence[str]):
    """A sequence of texts over their bytes. blob: uint8, all in UTF-8 in a row. ends: int64 [N], where each ends."""

    def __init__(self, blob: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        if not len(blob) == (int(ends[-1]) if len(ends) else 0):
            raise ValueError(f"texts: {len(blob)} bytes don't fit their ends")
        self._blob, self._ends = blob, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringTable:
        """Pack texts. Those that are packed are given back as they are."""
        if isinstance(texts, StringTable):
            return texts
        blob, ends = bytearray(), []
        for text in texts:
            blob += _bytes(text)
            ends.append(len(blob))
        return cls(np.frombuffer(bytes(blob), np.uint8), np.array(ends, np.int64))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> StringTable:
        """From what `arrays` gave. Raises KeyError and ValueError where that isn't it."""
        return cls(arrays["texts"], arrays["text_ends"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What goes into a file."""
        return {"texts": self._blob, "text_ends": self._ends}

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.encoded(range(len(self))[index]).decode("utf-8", "surrogateescape")

    def encoded(self, index: int) -> bytes:
        """One text in UTF-8. index: from 0 on."""
        return self._blob[self._ends.item(index - 1) if index else 0 : self._ends.item(index)].tobytes()


class NameTable(StringTable):
    """Texts that are all different, and the number of each of them.

    hashes: uint64 [N], of all names, ascending. order: int64 [N], the number of the name behind each hash.
    """

    def __init__(
        self,
        blob: NDArray[np.uint8],
        ends: NDArray[np.int64],
        hashes: NDArray[np.uint64] | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(blob, ends)
        if hashes is None or order is None:
            found = np.array([_hash(self.encoded(number)) for number in range(len(self))], np.uint64)
            order = np.argsort(found, kind="stable").astype(np.int64)
            hashes = found[order]
        if not len(hashes) == len(order) == len(ends):
            raise ValueError(f"names: {len(hashes)} hashes for {len(ends)} names")
        self._hashes, self._order = hashes, order

    @classmethod
    def of(cls, texts: Iterable[str]) -> NameTable:
        """Pack names. Whether they are all different, `double` says."""
        packed = StringTable.of(texts)
        return cls(packed._blob, packed._ends)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> NameTable:
        """From what `arrays` gave. Raises KeyError and ValueError where that isn't it."""
        return cls(arrays["texts"], arrays["text_ends"], arrays["name_hashes"], arrays["name_order"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What goes into a file."""
        return super().arrays() | {"name_hashes": self._hashes, "name_order": self._order}

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.number(name) >= 0

    def number(self, name: str) -> int:
        """The number of a name, -1 where it isn't there."""
        told = _bytes(name)
        wanted = _hash(told)
        return self._at(int(self._hashes.searchsorted(np.uint64(wanted))), wanted, told)

    def find(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The number of each name, -1 for one that isn't there; int64 [len(names)]."""
        told = [_bytes(name) for name in names]
        wanted = [_hash(name) for name in told]
        places = self._hashes.searchsorted(np.array(wanted, np.uint64))
        return np.array([self._at(*one) for one in zip(places.tolist(), wanted, told, strict=True)], np.int64)

    def _at(self, place: int, wanted: int, name: bytes) -> int:
        """The number of a name among those of its hash: two names share one as good as never, but may."""
        while place < len(self._order) and self._hashes.item(place) == wanted:
            number = self._order.item(place)
            if self.encoded(number) == name:
                return number
            place += 1
        return -1

    def double(self) -> tuple[int, int] | None:
        """The numbers of two equal names, those whose second one comes first; None where all are different."""
        pairs = []
        for place in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]).tolist():
            first, second = (int(number) for number in self._order[place : place + 2])
            if self.encoded(first) == self.encoded(second):
                pairs.append((first, second))
        return min(pairs, key=lambda pair: pair[1], default=None)


def _bytes(text: str) -> bytes:
    # Names of files may be any bytes; Python carries those that are not UTF-8 as surrogates.
    return text.encode("utf-8", "surrogateescape")


def _hash(name: bytes) -> int:
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
