"""Many strings packed into one memory-mapped block of bytes.

A million of them open at once and cost no memory until they are read: the ids of a feature store or of a file of
Tideos, the captions of a memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class StringTable(Sequence[str]):
    """A sequence of packed strings. blob: uint8, their UTF-8 bytes, concatenated. ends: int64 [N], the end of each."""

    def __init__(self, blob: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        if not len(blob) == (int(ends[-1]) if len(ends) else 0):
            raise ValueError(f"texts: {len(blob)} bytes don't fit their ends")
        self._blob, self._ends = blob, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringTable:
        """Pack strings; a table is returned unchanged."""
        if isinstance(texts, StringTable):
            return texts
        blob, ends = bytearray(), []
        for text in texts:
            blob += _bytes(text)
            ends.append(len(blob))
        return cls(np.frombuffer(bytes(blob), np.uint8), np.array(ends, np.int64))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> StringTable:
        """Rebuild a table from its `arrays`. Raises KeyError or ValueError if they are incomplete or inconsistent."""
        return cls(arrays["texts"], arrays["text_ends"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the named arrays to write to a file."""
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
        """Return one string as UTF-8 bytes. index: 0 or more."""
        return self._blob[self._ends.item(index - 1) if index else 0 : self._ends.item(index)].tobytes()


class NameTable(StringTable):
    """A string table of unique names with a lookup from name to position.

    hashes: uint64 [N], sorted hashes of all names. order: int64 [N], the position of the name of each hash.
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
            unsorted = np.array([_hash(self.encoded(number)) for number in range(len(self))], np.uint64)
            order = np.argsort(unsorted, kind="stable").astype(np.int64)
            hashes = unsorted[order]
        if not len(hashes) == len(order) == len(ends):
            raise ValueError(f"names: {len(hashes)} hashes for {len(ends)} names")
        self._hashes, self._order = hashes, order

    @classmethod
    def of(cls, texts: Iterable[str]) -> NameTable:
        """Pack names. `duplicate` checks that they are unique."""
        packed = StringTable.of(texts)
        return cls(packed._blob, packed._ends)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> NameTable:
        """Rebuild a table from its `arrays`. Raises KeyError or ValueError if they are incomplete or inconsistent."""
        return cls(arrays["texts"], arrays["text_ends"], arrays["name_hashes"], arrays["name_order"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the named arrays to write to a file."""
        return super().arrays() | {"name_hashes": self._hashes, "name_order": self._order}

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.number(name) >= 0

    def number(self, name: str) -> int:
        """Return the position of a name, -1 if it isn't in the table."""
        encoded = _bytes(name)
        digest = _hash(encoded)
        return self._at(int(self._hashes.searchsorted(np.uint64(digest))), digest, encoded)

    def find(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the position of each name, -1 for those not in the table; int64 [len(names)]."""
        encoded = [_bytes(name) for name in names]
        digests = [_hash(name) for name in encoded]
        places = self._hashes.searchsorted(np.array(digests, np.uint64))
        return np.array([self._at(*one) for one in zip(places.tolist(), digests, encoded, strict=True)], np.int64)

    def _at(self, place: int, digest: int, name: bytes) -> int:
        """Return the position of a name among those with its hash; names may collide, though hardly ever."""
        while place < len(self._order) and self._hashes.item(place) == digest:
            number = self._order.item(place)
            if self.encoded(number) == name:
                return number
            place += 1
        return -1

    def duplicate(self) -> tuple[int, int] | None:
        """Return the positions of a repeated name and its repetition, of the earliest repetition; None if unique."""
        pairs = []
        for place in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]).tolist():
            first, second = (int(number) for number in self._order[place : place + 2])
            if self.encoded(first) == self.encoded(second):
                pairs.append((first, second))
        return min(pairs, key=lambda pair: pair[1], default=None)


def _bytes(text: str) -> bytes:
    # File names may be any bytes; Python carries those that aren't UTF-8 as surrogates.
    return text.encode("utf-8", "surrogateescape")


def _hash(name: bytes) -> int:
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
