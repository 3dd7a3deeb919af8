"""The ledger of writer calls: requests, replies and their cost, in one SQLite file.

A reply is committed unmodified before it is parsed. A call is owned by one process at a time: the owner holds a lock
file, which the kernel releases when the process ends, however it ends. So a second process never pays for the same
call, and after a `kill -9` only the calls in flight are sent again.

A commit waits for the disk, so the operations of many calls share one (`Ledger.commit_all`, `topa.tideos.commits`).
Memory use doesn't grow with the number of calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ..core.artifacts import claim_database, remove, write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, InputError, OutputError
from ..core.locks import is_held, take
from .seeds import Seed
from .writers import TokenUsage

State = Literal["planned", "in flight", "submitted", "replied", "accepted", "rejected", "failed"]
OPEN: tuple[State, ...] = ("planned", "in flight", "replied", "failed")
"""States of calls that a run can work on; a submitted call belongs to the provider until its batch ends."""
FORMAT = "3"
LEDGER = "ledger.sqlite"
"""The ledger's file name in the folder of a set."""
_OWNER = re.compile("[0-9a-f]{32}")  # a uuid
FILES = (LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}-journal", f"{LEDGER}.reserve")
"""The files of a ledger."""
_RESERVE = 4 * 2**20  # bytes of disk space, freed when the disk is full so that calls in flight can still be written
_BUSY = 60.0  # seconds to wait for another process's commit
_CACHE = 8_000  # kilobytes of SQLite's page cache
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, position INTEGER, seed TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, owner TEXT, error TEXT, result TEXT,
  batch TEXT, refusals INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS replies (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, raw TEXT NOT NULL,
  tokens_in INTEGER, tokens_out INTEGER, cost REAL, batch TEXT
);
CREATE TABLE IF NOT EXISTS batches (
  name TEXT PRIMARY KEY, file TEXT, remote TEXT, state TEXT NOT NULL, owner TEXT,
  tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS verdicts (reply INTEGER PRIMARY KEY, problem TEXT, digest TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS replies_of_batch ON replies (key, batch) WHERE batch IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_of_batch ON calls (batch, key) WHERE batch IS NOT NULL;
CREATE INDEX IF NOT EXISTS replies_by_key ON replies (key);
CREATE INDEX IF NOT EXISTS calls_by_position ON calls (position);
CREATE INDEX IF NOT EXISTS calls_by_owner ON calls (owner) WHERE owner IS NOT NULL;
CREATE TABLE IF NOT EXISTS spent (
  one INTEGER PRIMARY KEY CHECK (one = 1), tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost REAL NOT NULL
);
INSERT OR IGNORE INTO spent VALUES (1, 0, 0, 0.0);
CREATE TEMP TABLE wanted (position INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, seed TEXT NOT NULL UNIQUE);
"""


def call_key(prompt: str, model: str, parameters: Mapping[str, Any], seed: str) -> str:
    """Return the key of a call, a hash of its prompt, model, parameters and seed id."""
    body = json.dumps([prompt, model, dict(parameters), seed], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class WriterReply:
    """One unmodified reply. is_counted: whether its usage has been added to the total."""

    id: int
    raw: str
    is_counted: bool


@dataclass(frozen=True)
class LedgerProgress:
    """The progress of a ledger.

    seeds: `seed_hash` of the seeds that need no further request. results: number of accepted or rejected calls. usage:
    of all replies.
    """

    seeds: frozenset[int] = frozenset()
    results: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)

    def __add__(self, other: LedgerProgress) -> LedgerProgress:
        return LedgerProgress(self.seeds | other.seeds, self.results + other.results, self.usage + other.usage)


def seed_hash(id: str, kind: str, text: str) -> int:
    """Hash a seed for `LedgerProgress`, valid in this process only. A seed with another text has another hash."""
    return hash((id, kind, text))


def read_progress(path: Path) -> LedgerProgress:
    """Read the progress of the ledger at a path without changing it; empty if it doesn't exist or can't be read."""
    if not path.exists():
        return LedgerProgress()
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY)) as database:
            rows = database.execute(
                "SELECT seed, kind, text FROM calls WHERE state IN ('accepted', 'rejected', 'submitted')"
            )
            seeds = frozenset(seed_hash(*row) for row in rows)
            (results,) = database.execute(
                "SELECT count(*) FROM calls WHERE state IN ('accepted', 'rejected')"
            ).fetchone()
            return LedgerProgress(seeds, results, TokenUsage(*database.execute("SELECT * FROM spent").fetchone()[1:]))
    except sqlite3.Error:
        return LedgerProgress()


@dataclass(frozen=True)
class Verdict:
    """The verdict on a reply. problem: its class if it is unusable, else None. digest: of a usable reply's text."""

    problem: str | None
    digest: str | None = None


@dataclass(frozen=True)
class WriterCall:
    """A call owned by this process: its key, its seed, and its replies so far, oldest first."""

    key: str
    seed: Seed
    replies: tuple[WriterReply, ...]


class Ledger:
    """The calls and replies of one configuration. A context manager; one instance per process, used by one thread at a
    time.

    full: the error of a full disk, after which only calls in flight may be recorded; None before. database, owner: the
    connection and this process's id in it, for `BatchJobs`.
    Raises ArtifactMismatch if the file belongs to another configuration, ArtifactError if it isn't a ledger,
    OutputError if it can't be written. None of these changes its content.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self.path = path
        self.owner = uuid.uuid4().hex
        self._owners = path.with_name(path.name + ".owners")
        self._reserve = path.with_name(path.name + ".reserve")
        self._lock = -1
        self._after = -1
        self.full: OutputError | None = None
        claim_database(path)
        with self._explained():
            self.database = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            with self._explained():
                for pragma in ("journal_mode=WAL", "synchronous=FULL", f"cache_size=-{_CACHE}"):
                    self.database.execute(f"PRAGMA {pragma}")
                self.database.executescript(_SCHEMA)
            self._check(dict(configuration))
            self._take_lock()
        except BaseException:
            self.database.close()
            self._drop_lock()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the calls that this process owns, and close. A second call does nothing."""
        if self._lock < 0:
            return
        try:
            with self.transaction():
                self.database.execute(
                    "UPDATE calls SET owner = NULL, state = CASE state WHEN 'in flight' THEN 'planned' ELSE state END"
                    " WHERE owner = ?",
                    (self.owner,),
                )
                self.database.execute("UPDATE batches SET owner = NULL WHERE owner = ?", (self.owner,))
        except OutputError:
            pass  # the lock ends with this process, which releases the calls as well
        finally:
            self.database.close()
            self._drop_lock()

    def commit_all(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run operations of this ledger in one commit and return their results; on return they are on the disk.

        On a full disk the reserved space is freed first. Raises OutputError if that isn't enough; then no operation
        has an effect.
        """
        try:
            return self._run_all(operations)
        except OutputError as error:
            if not self._reserve.exists():
                raise
            remove(self._reserve)
            self.full = error
            return self._run_all(operations)

    def _run_all(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        with self.transaction():
            return [operation() for operation in operations]

    def plan(self, calls: Iterable[tuple[str, int, Seed]]) -> int:
        """Set the calls of this run, as (key, rising position, seed), and return their number.

        New calls are added to the ledger. Raises InputError if two seeds have the same id.
        """
        number = 0
        with self.transaction():
            self.database.execute("DELETE FROM wanted")
            for key, position, seed in calls:
                number += 1
                cursor = self.database.execute(
                    "INSERT OR IGNORE INTO wanted VALUES (?, ?, ?)", (position, key, seed.id)
                )
                if not cursor.rowcount:
                    raise InputError(
                        f"seed number {position + 1}: the id {seed.id!r} was there before. Give every seed an id of "
                        "its own."
                    )
                self.database.execute(
                    "INSERT INTO calls (key, position, seed, kind, text, state) VALUES (?, ?, ?, ?, ?, 'planned')"
                    " ON CONFLICT (key) DO UPDATE SET position = excluded.position"
                    " WHERE position IS NOT excluded.position",
                    (key, position, seed.id, seed.kind, seed.text),
                )
            self.database.execute(
                "UPDATE calls SET position = NULL WHERE position IS NOT NULL AND key NOT IN (SELECT key FROM wanted)"
            )
        self._after = -1
        return number

    def claim(self, limit: int, states: Sequence[State] = OPEN) -> list[WriterCall]:
        """Take ownership of the next calls of this run in these states, at most `limit` of them.

        Each call is returned once per run, or once after `rewind`; the list is empty at the end. Calls owned by other
        running processes are skipped.
        """
        calls: list[WriterCall] = []
        with self.transaction():
            while len(calls) < limit:
                rows = self.database.execute(
                    "SELECT wanted.position, key, calls.seed, kind, text, owner FROM wanted JOIN calls USING (key)"
                    " WHERE wanted.position > ? AND state IN (SELECT value FROM json_each(?))"
                    " ORDER BY wanted.position LIMIT ?",
                    (self._after, json.dumps(states), limit - len(calls)),
                ).fetchall()
                if not rows:
                    break
                for position, key, name, kind, text, owner in rows:
                    self._after = position
                    if owner not in (None, self.owner) and self.alive(owner):
                        continue
                    self.database.execute(
                        "UPDATE calls SET owner = ?, state = CASE state WHEN 'replied' THEN state ELSE 'planned' END"
                        " WHERE key = ?",
                        (self.owner, key),
                    )
                    seed = Seed.model_construct(id=name, kind=kind, text=text)
                    calls.append(WriterCall(key, seed, self._replies(key)))
        return calls

    def rewind(self) -> None:
        """Let `claim` start again at the first call."""
        self._after = -1

    def attempt(self, key: str) -> None:
        """Record that a request is about to be sent."""
        with self.transaction():
            self.database.execute("UPDATE calls SET state = 'in flight', attempts = attempts + 1 WHERE key = ?", (key,))

    def record(self, key: str, raw: str) -> WriterReply:
        """Store an unmodified reply."""
        with self.transaction():
            cursor = self.database.execute("INSERT INTO replies (key, raw) VALUES (?, ?)", (key, raw))
            self.database.execute("UPDATE calls SET state = 'replied' WHERE key = ?", (key,))
            return WriterReply(int(cursor.lastrowid or 0), raw, is_counted=False)

    def count(self, reply: WriterReply, usage: TokenUsage) -> None:
        """Add the usage of a reply to the total, unless it is counted already."""
        with self.transaction():
            cursor = self.database.execute(
                "UPDATE replies SET tokens_in = ?, tokens_out = ?, cost = ? WHERE id = ? AND cost IS NULL",
                (usage.tokens_in, usage.tokens_out, usage.cost, reply.id),
            )
            if cursor.rowcount:
                self.database.execute(
                    "UPDATE spent SET tokens_in = tokens_in + ?, tokens_out = tokens_out + ?, cost = cost + ?",
                    (usage.tokens_in, usage.tokens_out, usage.cost),
                )

    def judge(self, reply: WriterReply, verdict: Verdict) -> None:
        """Store the verdict on a reply, unless it has one."""
        with self.transaction():
            self.database.execute(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", (reply.id, verdict.problem, verdict.digest)
            )

    def verdicts(self, limit: int) -> list[Verdict]:
        """Return the verdicts on the latest replies of all processes, newest first."""
        with self._explained():
            rows = self.database.execute(
                "SELECT problem, digest FROM verdicts ORDER BY reply DESC LIMIT ?", (limit,)
            ).fetchall()
            return [Verdict(*row) for row in rows]

    def example(self, problem: str) -> tuple[str, WriterReply] | None:
        """Return the seed id and the reply of the latest problem of this class; None if there is none."""
        with self._explained():
            row = self.database.execute(
                "SELECT seed, replies.id, raw FROM verdicts JOIN replies ON replies.id = reply JOIN calls USING (key)"
                " WHERE problem = ? ORDER BY reply DESC LIMIT 1",
                (problem,),
            ).fetchone()
        return None if row is None else (str(row[0]), WriterReply(row[1], row[2], is_counted=True))

    def settle(self, key: str, state: State, *, error: str | None = None, result: str | None = None) -> None:
        """Release a call in a new state: accepted with its result, or another one with the class of error."""
        with self.transaction():
            self.database.execute(
                "UPDATE calls SET state = ?, owner = NULL, error = ?, result = ? WHERE key = ?",
                (state, error, result, key),
            )

    def write_note(self, name: str, value: str) -> str:
        """Store a fact about the endpoint once; return the stored value, which may be an earlier one."""
        with self.transaction():
            self.database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (f"note:{name}", value))
        return self.read_note(name) or value

    def read_note(self, name: str) -> str | None:
        """Return a stored fact, or None."""
        with self._explained():
            row = self.database.execute("SELECT value FROM meta WHERE name = ?", (f"note:{name}",)).fetchone()
        return None if row is None else str(row[0])

    def total_usage(self) -> TokenUsage:
        """Return the usage of all counted replies, of all processes."""
        with self._explained():
            return TokenUsage(*self.database.execute("SELECT tokens_in, tokens_out, cost FROM spent").fetchone())

    def open_batch_tokens(self) -> tuple[int, int]:
        """Return the maximum input and output tokens of the open batches of all processes."""
        with self._explained():
            tokens_in, tokens_out = self.database.execute(
                "SELECT coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) FROM batches WHERE state = 'open'"
            ).fetchone()
            return int(tokens_in), int(tokens_out)

    def counts(self) -> dict[State, int]:
        """Count the calls of this run by state."""
        with self._explained():
            return dict(
                self.database.execute(
                    "SELECT state, count(*) FROM wanted JOIN calls USING (key) GROUP BY state ORDER BY state"
                )
            )

    def count_elsewhere(self) -> int:
        """Count the calls of this run that other running processes own."""
        with self.transaction():
            rows = self.database.execute(
                "SELECT owner, count(*) FROM calls JOIN wanted USING (key) WHERE owner IS NOT NULL GROUP BY owner"
                " UNION ALL SELECT batches.owner, count(*) FROM batches JOIN calls ON calls.batch = batches.name"
                " JOIN wanted USING (key) WHERE batches.owner IS NOT NULL GROUP BY batches.owner"
            ).fetchall()
            return sum(number for owner, number in rows if owner != self.owner and self.alive(owner))

    def errors(self) -> dict[str, int]:
        """Count the rejected and failed calls of the last run by class of error."""
        with self._explained():
            return dict(
                self.database.execute(
                    "SELECT error, count(*) FROM calls"
                    " WHERE position IS NOT NULL AND state IN ('rejected', 'failed') GROUP BY error ORDER BY error"
                )
            )

    def replies(self, key: str) -> tuple[WriterReply, ...]:
        """Return the replies to a call, oldest first."""
        with self._explained():
            return self._replies(key)

    def results(self) -> Iterator[tuple[int, str]]:
        """Yield position and result of the accepted calls of the last run, in order."""
        with self._explained():
            rows = self.database.execute(
                "SELECT position, result FROM calls WHERE position IS NOT NULL AND state = 'accepted' ORDER BY position"
            )
            yield from rows

    def _replies(self, key: str) -> tuple[WriterReply, ...]:
        rows = self.database.execute("SELECT id, raw, cost FROM replies WHERE key = ? ORDER BY id", (key,))
        return tuple(WriterReply(id, raw, cost is not None) for id, raw, cost in rows)

    def _check(self, configuration: dict[str, Any]) -> None:
        text = json.dumps(configuration, sort_keys=True)
        with self.transaction():
            for name, value in (("format", FORMAT), ("configuration", text)):
                self.database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        with self._explained():
            meta: dict[str, str] = dict(self.database.execute("SELECT name, value FROM meta"))
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
            with self.transaction():  # no other process may sweep the file before it is locked
                self._owners.mkdir(exist_ok=True)
                self._sweep()
                handle = take(self._owners / self.owner)
            if handle is None:
                raise OutputError(
                    f"{self._owners / self.owner}: found a lock of another process. Run the command again."
                )
            self._lock = handle
        except OSError as error:
            raise self._no_room(error.strerror) from error
        if not self._reserve.exists():
            try:
                write_atomically(self._reserve, bytes(_RESERVE))
            except OutputError as error:
                raise self._no_room(f"no room for {_RESERVE >> 20} MB beside it") from error

    def _no_room(self, reason: str | None) -> OutputError:
        return OutputError(
            f"{self.path}: can't be written ({reason}). What is in it is kept. Free some space, then run the same "
            "command again."
        )

    def _drop_lock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)  # first: Windows removes no open file
            (self._owners / self.owner).unlink(missing_ok=True)
            self._lock = -1

    def _sweep(self) -> None:
        """Remove the lock files of processes that have ended."""
        for path in self._owners.iterdir():
            if _OWNER.fullmatch(path.name) and path.is_file() and not path.is_symlink() and not is_held(path):
                path.unlink(missing_ok=True)

    def alive(self, owner: str) -> bool:
        """Whether the process of an owner is running."""
        with self.transaction():  # two simultaneous checks would see each other as the owner
            return is_held(self._owners / owner)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the block as a whole, or as part of the enclosing transaction."""
        if self._inside():
            yield
            return
        with self._explained():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.database.execute("COMMIT")
            except BaseException:
                if self._inside():
                    self.database.execute("ROLLBACK")
                raise

    def _inside(self) -> bool:
        return self.database.in_transaction

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
