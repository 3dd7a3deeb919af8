"""Which Tideos came before: by id, by their exact words, and nearly.

Near duplicates are found by MinHash (Broder 1997) and banding: the library computes the signatures and chooses the
bands; they are looked up in a scratch database on the disk, because an index in memory would grow by kilobytes with
every Tideo.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from ..core.errors import UsageError

_RUN = 3  # words: long enough that equal topics alone don't look alike
_PLACES = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)  # odd, one for each word
_CACHE = 32_000  # kilobytes of the scratch file that are kept in memory
_SCHEMA = """
CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE exact (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE bands (hash INTEGER NOT NULL, signature INTEGER NOT NULL, PRIMARY KEY (hash, signature)) WITHOUT ROWID;
CREATE TABLE signatures (id INTEGER PRIMARY KEY, minima BLOB NOT NULL);
"""


class Seen:
    """What came so far. A context manager; its scratch file is gone afterwards.

    `near`: the overlap of two sets of word triples (Jaccard, estimated) from which they are near duplicates, above 0;
    1 looks for exact ones only. `permutations`: of MinHash. Raises UsageError where datasketch is needed and missing.
    """

    def __init__(self, near: float, permutations: int) -> None:
        self._near, self._permutations = near, permutations
        self._bands: tuple[tuple[int, int], ...] = ()
        if near < 1:
            try:
                from datasketch import MinHash, MinHashLSH
            except ImportError as error:
                raise UsageError(
                    "near duplicates need another package: pip install 'topa[data]'. Or look for exact ones only, "
                    "with --near 1."
                ) from error
            # A candidate too many costs a comparison, one too few a duplicate: so the bands are chosen for few misses.
            chosen = MinHashLSH(threshold=near, num_perm=permutations, weights=(0.1, 0.9))
            self._bands = tuple((n * chosen.r, (n + 1) * chosen.r) for n in range(chosen.b))
            self._empty = MinHash(num_perm=permutations, seed=1, hashfunc=int)
        self._database = sqlite3.connect("", isolation_level=None)  # a file without a name, removed when it is closed
        self._database.execute(f"PRAGMA cache_size=-{_CACHE}")
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, name: str, told: Sequence[str]) -> str | None:
        """Why a Tideo of this id and these words is a duplicate; None where it isn't: then it is seen from now on."""
        if self._found("SELECT 1 FROM ids WHERE id = ?", name):
            return "its id came before"
        text = " ".join(told).encode()
        exact = hashlib.blake2b(text, digest_size=16).digest()
        if self._found("SELECT 1 FROM exact WHERE hash = ?", exact):
            return "exact duplicate"
        if self._bands and self._is_near(text.split()):
            return "near duplicate"
        self._database.execute("INSERT INTO ids VALUES (?)", (name,))
        self._database.execute("INSERT INTO exact VALUES (?)", (exact,))
        return None

    def _found(self, query: str, value: str | bytes) -> bool:
        return self._database.execute(query, (value,)).fetchone() is not None

    def _is_near(self, told: Sequence[bytes]) -> bool:
        hashes = np.array(list(map(zlib.crc32, told)), np.uint64)
        if len(hashes) < _RUN:
            hashes = np.pad(hashes, (0, _RUN - len(hashes)))
        # A run of words is hashed by the hashes of its words and their places; the sum wraps around.
        runs = hashes[:-2] * _PLACES[0] + hashes[1:-1] * _PLACES[1] + hashes[2:] * _PLACES[2]
        made = self._empty.copy()
        made.update_batch((runs >> np.uint64(32)).tolist())
        minima = made.hashvalues.astype(np.uint32)
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
