"""The ledger of writer calls: what was asked, what came back and what it cost, in one SQLite file.

A reply is committed to the disk as it came, before anybody looks into it. A call belongs to one process at a time:
its owner holds a lock on a file of its own, which the kernel frees when the process ends, however it ends. So a
second process never pays for the same call, and after a `kill -9` only what was in flight is asked again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ..core.artifacts import write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, OutputError

State = Literal["planned", "in flight", "replied", "accepted", "rejected", "failed"]
FORMAT = "1"
_RESERVE = 4 * 2**20  # bytes kept aside, so that calls in flight when the disk fills up can still be written
_BUSY = 60.0  # seconds to wait for another process's commit
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, seed TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  owner TEXT, error TEXT, result TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, raw TEXT NOT NULL,
  tokens_in INTEGER, tokens_out INTEGER, cost REAL
);
CREATE INDEX IF NOT EXISTS replies_by_key ON replies (key);
CREATE TABLE IF NOT EXISTS spent (
  one INTEGER PRIMARY KEY CHECK (one = 1), tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost REAL NOT NULL
);
INSERT OR IGNORE INTO spent VALUES (1, 0, 0, 0.0);
"""


def call_key(prompt: str, model: str, parameters: Mapping[str, Any], seed: str) -> str:
    """The name of a call: equal for equal prompt, model, parameters and seed id, different otherwise."""
    body = json.dumps([prompt, model, dict(parameters), seed], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Reply:
    """One reply as it came. `counted`: whether its usage has been added to what was spent."""

    id: int
    raw: str
    counted: bool


@dataclass(frozen=True)
class Usage:
    """Tokens, and money in the currency of the prices; all zero or more."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens in both directions."""
        return self.tokens_in + self.tokens_out


class Ledger:
    """Calls and replies of one configuration. A context manager; one instance per process, used from one thread.

    Raises ArtifactMismatch where the file belongs to another configuration, ArtifactError where it isn't a ledger,
    OutputError where it can't be written (a full disk). None of them changes what is in it.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self.path = path
        self._owner = uuid.uuid4().hex
        self._owners = path.with_name(path.name + ".owners")
        self._reserve = path.with_name(path.name + ".reserve")
        self._lock = -1
        with self._explained():
            self._database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
        try:
            with self._explained():
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=FULL")
                self._database.executescript(_SCHEMA)
            self._check(dict(configuration))
            self._take_lock()
        except BaseException:
            self._database.close()
            self._drop_lock()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this process still holds, and close. A second call does nothing."""
        if self._lock < 0:
            return
        try:
            with self._transaction():
                self._database.execute(
                    "UPDATE calls SET owner = NULL, state = CASE state WHEN 'in flight' THEN 'planned' ELSE state END"
                    " WHERE owner = ?",
                    (self._owner,),
                )
        except OutputError:
            pass  # the lock ends with this process: whoever comes next finds the calls free
        finally:
            self._database.close()
            self._drop_lock()

    def plan(self, calls: Iterable[tuple[str, str]]) -> None:
        """Add calls (key, seed id) that aren't there yet."""
        with self._transaction():
            self._database.executemany("INSERT OR IGNORE INTO calls (key, seed, state) VALUES (?, ?, 'planned')", calls)

    def claim(self, key: str) -> tuple[Reply, ...] | None:
        """Make a planned call this process's own: the replies that it has already, oldest first.

        None where it is finished, or another living process has it. Raises KeyError for a key that wasn't planned.
        """
        with self._transaction():
            row = self._database.execute("SELECT state, owner FROM calls WHERE key = ?", (key,)).fetchone()
            if row is None:
                raise KeyError(key)
            state, owner = row
            if state in ("accepted", "rejected") or (owner not in (None, self._owner) and self._alive(owner)):
                return None
            self._database.execute(
                "UPDATE calls SET owner = ?, state = CASE state WHEN 'replied' THEN state ELSE 'in flight' END"
                " WHERE key = ?",
                (self._owner, key),
            )
            return self._replies(key)

    def attempt(self, key: str) -> None:
        """Count a request that is about to be sent."""
        with self._transaction():
            self._database.execute(
                "UPDATE calls SET state = 'in flight', attempts = attempts + 1 WHERE key = ?", (key,)
            )

    def record(self, key: str, raw: str) -> Reply:
        """Keep a reply as it came; on return it is on the disk.

        On a full disk the space that was kept aside is used up first. Raises OutputError when that is gone too.
        """
        try:
            return self._record(key, raw)
        except OutputError:
            if not self._reserve.exists():
                raise
            self._reserve.unlink()
            return self._record(key, raw)

    def _record(self, key: str, raw: str) -> Reply:
        with self._transaction():
            added = self._database.execute("INSERT INTO replies (key, raw) VALUES (?, ?)", (key, raw))
            self._database.execute("UPDATE calls SET state = 'replied' WHERE key = ?", (key,))
            return Reply(int(added.lastrowid or 0), raw, counted=False)

    def count(self, reply: Reply, usage: Usage) -> None:
        """Add the usage of a reply to what was spent, once."""
        with self._transaction():
            changed = self._database.execute(
                "UPDATE replies SET tokens_in = ?, tokens_out = ?, cost = ? WHERE id = ? AND cost IS NULL",
                (usage.tokens_in, usage.tokens_out, usage.cost, reply.id),
            )
            if changed.rowcount:
                self._database.execute(
                    "UPDATE spent SET tokens_in = tokens_in + ?, tokens_out = tokens_out + ?, cost = cost + ?",
                    (usage.tokens_in, usage.tokens_out, usage.cost),
                )

    def settle(self, key: str, state: State, *, error: str | None = None, result: str | None = None) -> None:
        """End this process's work on a call: accepted with its result, or another state and the class of error."""
        with self._transaction():
            self._database.execute(
                "UPDATE calls SET state = ?, owner = NULL, error = ?, result = ? WHERE key = ?",
                (state, error, result, key),
            )

    def note(self, name: str, value: str) -> str:
        """Write down a fact about the endpoint once; the value that stands there, which may be an earlier one."""
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (f"note:{name}", value))
        return self.noted(name) or value

    def noted(self, name: str) -> str | None:
        """A fact that was noted."""
        with self._explained():
            row = self._database.execute("SELECT value FROM meta WHERE name = ?", (f"note:{name}",)).fetchone()
        return None if row is None else str(row[0])

    def spent(self) -> Usage:
        """What all counted replies took, of all processes."""
        with self._explained():
            return Usage(*self._database.execute("SELECT tokens_in, tokens_out, cost FROM spent").fetchone())

    def states(self) -> dict[str, State]:
        """The state of every call, by key."""
        with self._explained():
            return dict(self._database.execute("SELECT key, state FROM calls"))

    def held_elsewhere(self) -> set[str]:
        """Keys of calls that another living process has."""
        with self._transaction():
            rows = self._database.execute("SELECT key, owner FROM calls WHERE owner IS NOT NULL").fetchall()
            living = {owner for owner in {owner for _, owner in rows} - {self._owner} if self._alive(owner)}
        return {key for key, owner in rows if owner in living}

    def errors(self) -> dict[str, int]:
        """How many rejected and failed calls there are, by class of error."""
        with self._explained():
            return dict(
                self._database.execute(
                    "SELECT error, count(*) FROM calls WHERE state IN ('rejected', 'failed') GROUP BY error"
                )
            )

    def replies(self, key: str) -> tuple[Reply, ...]:
        """The replies to a call, oldest first."""
        with self._explained():
            return self._replies(key)

    def result(self, key: str) -> str | None:
        """The result of an accepted call."""
        with self._explained():
            row = self._database.execute("SELECT result FROM calls WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def _replies(self, key: str) -> tuple[Reply, ...]:
        rows = self._database.execute("SELECT id, raw, cost FROM replies WHERE key = ? ORDER BY id", (key,))
        return tuple(Reply(id, raw, cost is not None) for id, raw, cost in rows)

    def _check(self, configuration: dict[str, Any]) -> None:
        text = json.dumps(configuration, sort_keys=True)
        with self._transaction():
            for name, value in (("format", FORMAT), ("configuration", text)):
                self._database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        with self._explained():
            meta: dict[str, str] = dict(self._database.execute("SELECT name, value FROM meta"))
        if meta["format"] != FORMAT:
            raise ArtifactError(
                f"{self.path}: a ledger of format {meta['format']}; this topa reads {FORMAT}. Give another --out."
            )
        if meta["configuration"] != text:
            stored = json.loads(meta["configuration"])
            other = [
                f"{name} was {stored.get(name)!r} and is {configuration.get(name)!r}"
                for name in sorted(stored.keys() | configuration.keys())
                if stored.get(name) != configuration.get(name)
            ]
            raise ArtifactMismatch(
                f"{self.path}: belongs to another configuration: {'; '.join(other)}. "
                "Give the same options as before, or another folder with --out."
            )

    def _take_lock(self) -> None:
        try:
            self._owners.mkdir(exist_ok=True)
            self._sweep()
            mine = self._owners / self._owner
            while True:  # another process may sweep the file away before it is locked
                self._lock = os.open(mine, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                if mine.exists():
                    break
                os.close(self._lock)
            if not self._reserve.exists():
                write_atomically(self._reserve, bytes(_RESERVE))
        except (OSError, OutputError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"no room for {_RESERVE >> 20} MB beside it"
            raise OutputError(
                f"{self.path}: can't be written ({reason}). What is in it is kept. Free some space, then run the same "
                "command again."
            ) from error

    def _drop_lock(self) -> None:
        if self._lock >= 0:
            (self._owners / self._owner).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _sweep(self) -> None:
        """Remove the files of dead owners."""
        for path in self._owners.iterdir():
            with suppress(BlockingIOError, FileNotFoundError), path.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)

    def _alive(self, owner: str) -> bool:
        try:
            handle = os.open(self._owners / owner, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"{self.path}: can't be written ({error}). Every reply that was recorded is kept. "
                "Free some space, then run the same command again."
            ) from error
        except sqlite3.DatabaseError as error:
            raise ArtifactError(
                f"{self.path}: found something that is not a ledger of topa, or is damaged ({error}). "
                "Move it away, or name another folder with --out."
            ) from error
