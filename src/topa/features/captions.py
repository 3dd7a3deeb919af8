"""The captions that a run has encoded so far: equal ones are computed once, however far apart they come.

Their rows are kept in a scratch file on the disk. What is in it belongs to whole files of the store, or to the one
that comes next, so that a run that was killed computes the same captions in the same batches as one that was not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..core.artifacts import claim_database, remove
from ..core.errors import OutputError
from .encoder import Encoder

SCRATCH = "captions.sqlite"
"""The file's name in the folder of a run."""
_CACHE = 64_000  # kilobytes of the file that are kept in memory
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (hash BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS captions (id INTEGER PRIMARY KEY, cut INTEGER NOT NULL, row BLOB NOT NULL);
"""


class Captions:
    """A cache of captions' rows in a scratch file. A context manager; the file stays until it is removed.

    encoded: how many captions were computed.
    Raises OutputError where the file can't be written.
    """

    def __init__(self, path: Path, encoder: Encoder, batch_size: int = 256) -> None:
        self.path = path
        self.encoded = 0
        self._encoder, self._batch_size = encoder, batch_size
        with self._explained():
            try:
                self._database = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # nothing is lost but time
                remove(self.path)
                self._database = self._open()

    def __enter__(self) -> Captions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def empty(self, number: int) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """Allocate the arrays that `rows` returns."""
        return np.empty((number, self._encoder.width), np.float16), np.zeros(number, bool)

    def rows(self, texts: list[str]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """Return unit rows of distinct texts, float16 [N, D], and which texts were cut, bool [N]."""
        hashes = [blake2b(text.encode(), digest_size=16).digest() for text in texts]
        rows, cut = self.empty(len(texts))
        missing = []
        query = "SELECT cut, row FROM hashes JOIN captions USING (id) WHERE hash = ?"
        with self._explained():
            for number, name in enumerate(hashes):
                row = self._database.execute(query, (name,)).fetchone()
                if row is None:
                    missing.append(number)
                else:
                    cut[number], rows[number] = row[0], np.frombuffer(row[1], np.float16)
        self.encoded += len(missing)
        if missing:
            computed, shortened = self._encoder.encode_distinct([texts[number] for number in missing], self._batch_size)
            rows[missing] = computed.half().numpy()
            cut[[missing[number] for number in shortened]] = True
            self._keep([(hashes[number], bool(cut[number]), rows[number].tobytes()) for number in missing])
        return rows, cut

    def _keep(self, captions: list[tuple[bytes, bool, bytes]]) -> None:
        with self._explained(), self._database:
            first = self._database.execute("SELECT coalesce(max(id), 0) + 1 FROM captions").fetchone()[0]
            self._database.executemany(
                "INSERT INTO captions VALUES (?, ?, ?)",
                ((first + n, cut, row) for n, (_, cut, row) in enumerate(captions)),
            )
            self._database.executemany(
                "INSERT INTO hashes VALUES (?, ?)", ((name, first + n) for n, (name, _, _) in enumerate(captions))
            )

    def _open(self) -> sqlite3.Connection:
        claim_database(self.path)
        database = sqlite3.connect(self.path)
        database.execute(f"PRAGMA cache_size=-{_CACHE}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(_SCHEMA)
        return database

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"{self.path}: can't be written ({error}). What is encoded is kept. Free some space, then run the same "
                "command again."
            ) from error


def remove_scratch(path: Path) -> None:
    """Delete a scratch file, and what SQLite keeps beside it."""
    for own in (path, *path.parent.glob(f"{path.name}-*")):
        remove(own)
