"""Find duplicate Tideos: by id, by exact text, and by near-identical text.

Near duplicates are found by MinHash (Broder 1997) with banding. The signatures are in a temporary database on the disk,
because an index in memory would grow by kilobytes per Tideo.
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

_SHINGLE = 3  # words: long enough that Tideos on the same topic don't look alike
_RECALL = 0.95  # of pairs exactly at the threshold
_CACHE = 16_000  # kilobytes of the database's page cache
_SCHEMA = """
CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE exact (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE bands (hash INTEGER NOT NULL, signature INTEGER NOT NULL, PRIMARY KEY (hash, signature)) WITHOUT ROWID;
CREATE TABLE signatures (id INTEGER PRIMARY KEY, minima BLOB NOT NULL);
"""


class DuplicateIndex:
    """The Tideos added so far. A context manager that deletes its temporary database.

    near: estimated Jaccard similarity of two sets of word triples from which they are near duplicates, above 0; 1 finds
    exact duplicates only. permutations: of MinHash. Raises UsageError if rensa is needed and isn't installed.
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
        self._database = sqlite3.connect("", isolation_level=None)  # an anonymous file, deleted on close
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

    def add(self, name: str, words: Sequence[str]) -> str | None:
        """Return why a Tideo with this id and these words is a duplicate, or add it and return None."""
        if self._exists("SELECT 1 FROM ids WHERE id = ?", name):
            return "its id came before"
        exact = hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()
        if self._exists("SELECT 1 FROM exact WHERE hash = ?", exact):
            return "exact duplicate"
        if self._bands and self._is_near(words):
            return "near duplicate"
        self._database.execute("INSERT INTO ids VALUES (?)", (name,))
        self._database.execute("INSERT INTO exact VALUES (?)", (exact,))
        return None

    def _exists(self, query: str, value: str | bytes) -> bool:
        return self._database.execute(query, (value,)).fetchone() is not None

    def _is_near(self, words: Sequence[str]) -> bool:
        sketch = self._minima()
        sketch.update([" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))])
        minima = np.array(sketch.digest(), np.uint32)
        # Python's hash differs between processes, as does the temporary database.
        bands = [hash((n, minima[a:b].tobytes())) for n, (a, b) in enumerate(self._bands)]
        places = ",".join("?" * len(bands))
        candidates = self._database.execute(
            f"SELECT minima FROM signatures WHERE id IN (SELECT signature FROM bands WHERE hash IN ({places}))",  # noqa: S608
            bands,
        )
        # Equal bands give candidates; the estimated similarity decides.
        if any(np.mean(np.frombuffer(other, np.uint32) == minima) >= self._near for (other,) in candidates):
            return True
        cursor = self._database.execute("INSERT INTO signatures (minima) VALUES (?)", (minima.tobytes(),))
        self._database.executemany("INSERT INTO bands VALUES (?, ?)", [(band, cursor.lastrowid) for band in bands])
        return False


def _rows(near: float, permutations: int) -> int:
    """Return the rows per band, as many as keep the recall of pairs with similarity `near` at 95 %.

    Too many candidates cost comparisons; too few miss duplicates.
    """
    numbers = [r for r in range(1, permutations + 1) if 1 - (1 - near**r) ** (permutations // r) >= _RECALL]
    return max(numbers, default=1)
