"""The ledger of writer calls: what was asked, what came back and what it cost, in one SQLite file.

A reply is committed to the disk as it came, before anybody looks into it. A call belongs to one process at a time:
its owner holds a lock on a file of its own, which the kernel frees when the process ends, however it ends. So a
second process never pays for the same call, and after a `kill -9` only what was in flight is asked again.

What a commit costs is the wait for the disk, so operations of many calls are committed together (`Ledger.together`,
`topa.tideos.commits`). Nothing that grows with the number of calls is kept in memory.
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ..core.artifacts import claim_database, remove, write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, InputError, OutputError
from ..core.locks import is_held, take
from .seeds import Seed

State = Literal["planned", "in flight", "submitted", "replied", "accepted", "rejected", "failed"]
OPEN: tuple[State, ...] = ("planned", "in flight", "replied", "failed")
"""What can be asked, or read, at once; a submitted call is the provider's until its batch ends."""
FORMAT = "3"
LEDGER = "ledger.sqlite"
"""The file's name in the folder of a set."""
_OWNER = re.compile("[0-9a-f]{32}")  # a uuid
FILES = (LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", f"{LEDGER}-journal", f"{LEDGER}.reserve")
"""What a ledger is kept in."""
_RESERVE = 4 * 2**20  # bytes kept aside, so that calls in flight when the disk fills up can still be written
_BUSY = 60.0  # seconds to wait for another process's commit
_CACHE = 8_000  # kilobytes of the file that are kept in memory
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
    """The name of a call: equal for equal prompt, model, parameters and seed id, different otherwise."""
    body = json.dumps([prompt, model, dict(parameters), seed], sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class WriterReply:
    """One reply as it came. `counted`: whether its usage has been added to what was spent."""

    id: int
    raw: str
    counted: bool


@dataclass(frozen=True)
class TokenUsage:
    """Tokens, and money in the currency of the prices; all zero or more."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out, self.cost + other.cost)

    @property
    def tokens(self) -> int:
        """Tokens in both directions."""
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True)
class LedgerProgress:
    """How far a ledger is. `seeds`: hashes of those that need no further request, as far as is known; `results`: how
    many of them are accepted or rejected; `usage`: what all replies took."""

    seeds: frozenset[int] = frozenset()
    results: int = 0
    usage: TokenUsage = TokenUsage()

    def __add__(self, other: LedgerProgress) -> LedgerProgress:
        return LedgerProgress(self.seeds | other.seeds, self.results + other.results, self.usage + other.usage)


def seed_hash(id: str, kind: str, text: str) -> int:
    """What a seed is known by in `LedgerProgress`, in this process only: an edited text makes another seed."""
    return hash((id, kind, text))


def read_progress(path: Path) -> LedgerProgress:
    """How far the ledger at a path is, without a change to it; nothing where there is none that can be read, which
    whoever opens it will say."""
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
    """What a reply turned out to be. `problem`: the class of what makes it unusable, None where nothing does; `digest`:
    of a usable reply's text."""

    problem: str | None
    digest: str | None = None


@dataclass(frozen=True)
class WriterCall:
    """A call that is this process's own: its seed, and the replies that it has already, oldest first."""

    key: str
    seed: Seed
    replies: tuple[WriterReply, ...]


class Ledger:
    """Calls and replies of one configuration. A context manager; one instance per process, used by one thread at a
    time. `full`: the error of a disk that had no more room, after which only what is in flight may be added.
    `database`, `owner`: the connection, and this process's name in it, for what keeps tables of its own beside.

    Raises ArtifactMismatch where the file belongs to another configuration, ArtifactError where it isn't a ledger,
    OutputError where it can't be written (a full disk). None of them changes what is in it.
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
        """Give back what this process still holds, and close. A second call does nothing."""
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
            pass  # the lock ends with this process: whoever comes next finds the calls free
        finally:
            self.database.close()
            self._drop_lock()

    def together(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        """What the operations of this ledger give, all in one commit: on return they are on the disk.

        On a full disk the space that was kept aside is used up first. Raises OutputError when that is gone too; then
        none of them was done.
        """
        try:
            return self._together(operations)
        except OutputError as error:
            if not self._reserve.exists():
                raise
            remove(self._reserve)
            self.full = error
            return self._together(operations)

    def _together(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        with self.transaction():
            return [operation() for operation in operations]

    def plan(self, calls: Iterable[tuple[str, int, Seed]]) -> int:
        """Say which calls this run is about: key, place in the order (rising), seed. How many there are.

        Those that aren't in the ledger are added. Raises InputError where two seeds have one id.
        """
        number = 0
        with self.transaction():
            self.database.execute("DELETE FROM wanted")
            for key, position, seed in calls:
                number += 1
                added = self.database.execute("INSERT OR IGNORE INTO wanted VALUES (?, ?, ?)", (position, key, seed.id))
                if not added.rowcount:
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
        """Make the next calls of this run that are in these states this process's own, at most `limit` of them.

        Each is given once in a run, or once after `rewind`. None are left where the list is empty; those of other
        living processes are passed over.
        """
        claimed: list[WriterCall] = []
        with self.transaction():
            while len(claimed) < limit:
                rows = self.database.execute(
                    "SELECT wanted.position, key, calls.seed, kind, text, owner FROM wanted JOIN calls USING (key)"
                    " WHERE wanted.position > ? AND state IN (SELECT value FROM json_each(?))"
                    " ORDER BY wanted.position LIMIT ?",
                    (self._after, json.dumps(states), limit - len(claimed)),
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
                    claimed.append(WriterCall(key, seed, self._replies(key)))
        return claimed

    def rewind(self) -> None:
        """Let claims begin at the first call again."""
        self._after = -1

    def attempt(self, key: str) -> None:
        """Count a request that is about to be sent."""
        with self.transaction():
            self.database.execute("UPDATE calls SET state = 'in flight', attempts = attempts + 1 WHERE key = ?", (key,))

    def record(self, key: str, raw: str) -> WriterReply:
        """Keep a reply as it came; when it is committed, it is on the disk."""
        with self.transaction():
            added = self.database.execute("INSERT INTO replies (key, raw) VALUES (?, ?)", (key, raw))
            self.database.execute("UPDATE calls SET state = 'replied' WHERE key = ?", (key,))
            return WriterReply(int(added.lastrowid or 0), raw, counted=False)

    def count(self, reply: WriterReply, usage: TokenUsage) -> None:
        """Add the usage of a reply to what was spent, once."""
        with self.transaction():
            changed = self.database.execute(
                "UPDATE replies SET tokens_in = ?, tokens_out = ?, cost = ? WHERE id = ? AND cost IS NULL",
                (usage.tokens_in, usage.tokens_out, usage.cost, reply.id),
            )
            if changed.rowcount:
                self.database.execute(
                    "UPDATE spent SET tokens_in = tokens_in + ?, tokens_out = tokens_out + ?, cost = cost + ?",
                    (usage.tokens_in, usage.tokens_out, usage.cost),
                )

    def judge(self, reply: WriterReply, verdict: Verdict) -> None:
        """Keep the verdict on a reply; the first one stays."""
        with self.transaction():
            self.database.execute(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", (reply.id, verdict.problem, verdict.digest)
            )

    def verdicts(self, limit: int) -> list[Verdict]:
        """The verdicts on the latest replies of all processes, newest first."""
        with self._explained():
            rows = self.database.execute(
                "SELECT problem, digest FROM verdicts ORDER BY reply DESC LIMIT ?", (limit,)
            ).fetchall()
            return [Verdict(*row) for row in rows]

    def example(self, problem: str) -> tuple[str, WriterReply] | None:
        """The latest reply with a problem of this class, and the id of its seed."""
        with self._explained():
            row = self.database.execute(
                "SELECT seed, replies.id, raw FROM verdicts JOIN replies ON replies.id = reply JOIN calls USING (key)"
                " WHERE problem = ? ORDER BY reply DESC LIMIT 1",
                (problem,),
            ).fetchone()
        return None if row is None else (str(row[0]), WriterReply(row[1], row[2], counted=True))

    def settle(self, key: str, state: State, *, error: str | None = None, result: str | None = None) -> None:
        """End this process's work on a call: accepted with its result, or another state and the class of error."""
        with self.transaction():
            self.database.execute(
                "UPDATE calls SET state = ?, owner = NULL, error = ?, result = ? WHERE key = ?",
                (state, error, result, key),
            )

    def note(self, name: str, value: str) -> str:
        """Write down a fact about the endpoint once; the value that stands there, which may be an earlier one."""
        with self.transaction():
            self.database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (f"note:{name}", value))
        return self.noted(name) or value

    def noted(self, name: str) -> str | None:
        """A fact that was noted."""
        with self._explained():
            row = self.database.execute("SELECT value FROM meta WHERE name = ?", (f"note:{name}",)).fetchone()
        return None if row is None else str(row[0])

    def spent(self) -> TokenUsage:
        """What all counted replies took, of all processes."""
        with self._explained():
            return TokenUsage(*self.database.execute("SELECT tokens_in, tokens_out, cost FROM spent").fetchone())

    def pledged(self) -> tuple[int, int]:
        """Tokens in and out that the batches which aren't collected yet may take at most, of all processes."""
        with self._explained():
            tokens_in, tokens_out = self.database.execute(
                "SELECT coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) FROM batches WHERE state = 'open'"
            ).fetchone()
            return int(tokens_in), int(tokens_out)

    def counts(self) -> dict[State, int]:
        """How many calls of this run are in which state."""
        with self._explained():
            return dict(
                self.database.execute(
                    "SELECT state, count(*) FROM wanted JOIN calls USING (key) GROUP BY state ORDER BY state"
                )
            )

    def held_elsewhere(self) -> int:
        """How many calls of this run another living process has."""
        with self.transaction():
            rows = self.database.execute(
                "SELECT owner, count(*) FROM calls JOIN wanted USING (key) WHERE owner IS NOT NULL GROUP BY owner"
                " UNION ALL SELECT batches.owner, count(*) FROM batches JOIN calls ON calls.batch = batches.name"
                " JOIN wanted USING (key) WHERE batches.owner IS NOT NULL GROUP BY batches.owner"
            ).fetchall()
            return sum(number for owner, number in rows if owner != self.owner and self.alive(owner))

    def errors(self) -> dict[str, int]:
        """How many rejected and failed calls there are among those of the last run, by class of error."""
        with self._explained():
            return dict(
                self.database.execute(
                    "SELECT error, count(*) FROM calls"
                    " WHERE position IS NOT NULL AND state IN ('rejected', 'failed') GROUP BY error ORDER BY error"
                )
            )

    def replies(self, key: str) -> tuple[WriterReply, ...]:
        """The replies to a call, oldest first."""
        with self._explained():
            return self._replies(key)

    def results(self) -> Iterator[tuple[int, str]]:
        """Place in the order and result of every accepted call that the last run was about, in that order."""
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
            with self.transaction():  # so that nobody sweeps away the file before it is locked
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
        """Remove the files of dead owners."""
        for path in self._owners.iterdir():
            if _OWNER.fullmatch(path.name) and path.is_file() and not path.is_symlink() and not is_held(path):
                path.unlink(missing_ok=True)

    def alive(self, owner: str) -> bool:
        """Whether the process of an owner lives."""
        with self.transaction():  # two that look at once would take each other for the owner
            return is_held(self._owners / owner)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is committed together: by itself, or with all that `together` was given."""
        if self._inside():  # one of several operations: the commit is theirs
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
