"""Which Tideos came before: by id, by their exact words, and nearly.

Near duplicates are found by MinHash (Broder 1997) and banding. A library computes the signatures; they are looked up in
a scratch database on the disk, because an index in memory would grow by kilobytes with every Tideo.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from functools import partial
from types import TracebackType

import numpy as np

from ..core.errors import UsageError
from ..core.install import install_line

_RUN = 3  # words: long enough that equal topics alone don't look alike
_FOUND = 0.95
_CACHE = 16_000  # kilobytes of the scratch file that are kept in memory
_SCHEMA = """
CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE exact (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE bands (hash INTEGER NOT NULL, signature INTEGER NOT NULL, PRIMARY KEY (hash, signature)) WITHOUT ROWID;
CREATE TABLE signatures (id INTEGER PRIMARY KEY, minima BLOB NOT NULL);
"""


class DuplicateIndex:
    """What came so far. A context manager; its scratch file is gone afterwards.

    `near`: the overlap of two sets of word triples (Jaccard, estimated) from which they are near duplicates, above 0;
    1 looks for exact ones only. `permutations`: of MinHash. Raises UsageError where rensa is needed and missing.
    """

    def __init__(self, near: float, permutations: int) -> None:
        self._near, self._permutations = near, permutations
        self._bands: tuple[tuple[int, int], ...] = ()
        if near < 1:
            try:
                from rensa import RMinHash
            except ImportError as error:
                raise UsageError(
                    "near duplicates need another package. Look for exact ones only, with --near 1, or install it: "
                    + install_line("data")
                ) from error
            self._minima = partial(RMinHash, permutations, 1)
            rows = _rows(near, permutations)
            self._bands = tuple((start, start + rows) for start in range(0, permutations - rows + 1, rows))
        self._database = sqlite3.connect("", isolation_level=None)  # a file without a name, removed when it is closed
        self._database.execute(f"PRAGMA cache_size=-{_CACHE}")
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def __enter__(self) -> DuplicateIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, name: str, told: Sequence[str]) -> str | None:
        """Why a Tideo of this id and these words is a duplicate; None where it isn't: then it is seen from now on."""
        if self._found("SELECT 1 FROM ids WHERE id = ?", name):
            return "its id came before"
        exact = hashlib.blake2b(" ".join(told).encode(), digest_size=16).digest()
        if self._found("SELECT 1 FROM exact WHERE hash = ?", exact):
            return "exact duplicate"
        if self._bands and self._is_near(told):
            return "near duplicate"
        self._database.execute("INSERT INTO ids VALUES (?)", (name,))
        self._database.execute("INSERT INTO exact VALUES (?)", (exact,))
        return None

    def _found(self, query: str, value: str | bytes) -> bool:
        return self._database.execute(query, (value,)).fetchone() is not None

    def _is_near(self, told: Sequence[str]) -> bool:
        made = self._minima()
        made.update([" ".join(told[i : i + _RUN]) for i in range(max(1, len(told) - _RUN + 1))])
        minima = np.array(made.digest(), np.uint32)
        # Salted anew in each process, as the scratch file is.
        bands = [hash((n, minima[a:b].tobytes())) for n, (a, b) in enumerate(self._bands)]
        places = ",".join("?" * len(bands))
        alike = self._database.execute(
            f"SELECT minima FROM signatures WHERE id IN (SELECT signature FROM bands WHERE hash IN ({places}))",  # noqa: S608
            bands,
        )
        # The bands give candidates; the estimate decides.
        if any(np.mean(np.frombuffer(other, np.uint32) == minima) >= self._near for (other,) in alike):
            return True
        added = self._database.execute("INSERT INTO signatures (minima) VALUES (?)", (minima.tobytes(),))
        self._database.executemany("INSERT INTO bands VALUES (?, ?)", [(band, added.lastrowid) for band in bands])
        return False


def _rows(near: float, permutations: int) -> int:
    """How many minima make a band: as many as leave a pair of this overlap a band in common in 19 of 20 cases.

    A candidate too many costs a comparison, one too few a duplicate.
    """
    found = [r for r in range(1, permutations + 1) if 1 - (1 - near**r) ** (permutations // r) >= _FOUND]
    return max(found, default=1)
