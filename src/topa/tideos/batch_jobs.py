"""Which call is in which batch at a provider: the part of the ledger that outlives the process that submitted them.

A batch gets its name, and its calls, before the provider hears of it: whatever happens afterwards, the name tells
whether the provider has it. Its replies can be recorded again and again; each is kept, and counted, once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from .ledger import Ledger, State, TokenUsage, WriterCall, WriterReply
from .seeds import Seed

_REFUSE = (
    "UPDATE calls SET batch = NULL, error = 'transient',"
    " state = CASE WHEN refusals + 1 >= :tries THEN 'failed' ELSE 'planned' END,"
    " refusals = CASE WHEN refusals + 1 >= :tries THEN 0 ELSE refusals + 1 END"
    " WHERE batch = :batch AND state = 'submitted'"
)


@dataclass(frozen=True)
class BatchJob:
    """A batch that isn't collected yet. `file`, `remote`: the provider's names of its input and of itself, as far as
    they are known."""

    name: str
    file: str | None
    remote: str | None


class BatchJobs:
    """The batches of a ledger. A batch belongs to one process at a time, as a call does."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._transaction = ledger.transaction

    def revive(self) -> None:
        """Plan the failed calls of this run again."""
        with self._transaction():
            self._database.execute(
                "UPDATE calls SET state = 'planned', error = NULL"
                " WHERE state = 'failed' AND key IN (SELECT key FROM wanted)"
            )

    def submit(self, keys: Sequence[str], tokens_in: int, tokens_out: int) -> BatchJob:
        """Put this process's own calls into a batch, which may take so many tokens."""
        batch = BatchJob(uuid.uuid4().hex, None, None)
        with self._transaction():
            self._database.execute(
                "INSERT INTO batches (name, state, owner, tokens_in, tokens_out) VALUES (?, 'open', ?, ?, ?)",
                (batch.name, self._ledger.owner, tokens_in, tokens_out),
            )
            self._database.executemany(
                "UPDATE calls SET state = 'submitted', batch = ?, owner = NULL, attempts = attempts + 1 WHERE key = ?",
                ((batch.name, key) for key in keys),
            )
        return batch

    def take(self) -> list[BatchJob]:
        """Make the batches that aren't collected, and that no other living process has, this process's own."""
        taken = []
        with self._transaction():
            rows = self._database.execute(
                "SELECT name, file, remote, owner FROM batches WHERE state = 'open' ORDER BY rowid"
            ).fetchall()
            for name, file, remote, owner in rows:
                if owner not in (None, self._ledger.owner) and self._ledger.alive(owner):
                    continue
                self._database.execute("UPDATE batches SET owner = ? WHERE name = ?", (self._ledger.owner, name))
                taken.append(BatchJob(name, file, remote))
        return taken

    def unfinished(self) -> int:
        """How many batches aren't collected yet, of all processes."""
        with self._transaction():
            (number,) = self._database.execute("SELECT count(*) FROM batches WHERE state = 'open'").fetchone()
            return int(number)

    def uploaded(self, name: str, file: str) -> None:
        """Write down what the provider calls a batch's input."""
        with self._transaction():
            self._database.execute("UPDATE batches SET file = ? WHERE name = ?", (file, name))

    def created(self, name: str, remote: str) -> None:
        """Write down what the provider calls a batch."""
        with self._transaction():
            self._database.execute("UPDATE batches SET remote = ? WHERE name = ?", (remote, name))

    def calls(self, name: str, after: str, limit: int) -> list[WriterCall]:
        """Calls of a batch that have no reply of it yet, by key, from the one behind `after` on."""
        with self._transaction():
            rows = self._database.execute(
                "SELECT key, seed, kind, text FROM calls WHERE batch = ? AND key > ? AND state = 'submitted'"
                " ORDER BY key LIMIT ?",
                (name, after, limit),
            ).fetchall()
            return [
                WriterCall(key, Seed.model_construct(id=seed, kind=kind, text=text), self._ledger.replies(key))
                for key, seed, kind, text in rows
            ]

    def record(self, name: str, key: str, raw: str, usage: TokenUsage) -> bool:
        """Keep a reply as it came, and count it; whether it is new."""
        with self._transaction():
            added = self._database.execute(
                "INSERT OR IGNORE INTO replies (key, raw, batch) VALUES (?, ?, ?)", (key, raw, name)
            )
            if added.rowcount:
                self._ledger.count(WriterReply(int(added.lastrowid or 0), raw, counted=False), usage)
            self._database.execute(
                "UPDATE calls SET state = 'replied', batch = NULL, refusals = 0"
                " WHERE key = ? AND batch = ? AND state = 'submitted'",
                (key, name),
            )
            return bool(added.rowcount)

    def refuse(self, name: str, key: str, tries: int) -> None:
        """Plan a call that the provider didn't get done again, or give it up after so many tries."""
        with self._transaction():
            self._database.execute(f"{_REFUSE} AND key = :key", {"tries": tries, "batch": name, "key": key})

    def settle(self, name: str, key: str, state: State, error: str | None = None) -> None:
        """Take a call without a reply out of its batch."""
        with self._transaction():
            self._database.execute(
                "UPDATE calls SET state = ?, batch = NULL, error = ?, refusals = 0"
                " WHERE key = ? AND batch = ? AND state = 'submitted'",
                (state, error, key, name),
            )

    def end(self, name: str, state: str, tries: int | None) -> int:
        """Close a batch: calls that it brought no reply to count as refused, or, where `tries` is None, as never
        submitted. How many these are."""
        with self._transaction():
            if tries is None:
                left = self._database.execute(
                    "UPDATE calls SET state = 'planned', batch = NULL WHERE batch = ? AND state = 'submitted'", (name,)
                )
            else:
                left = self._database.execute(_REFUSE, {"tries": tries, "batch": name})
            self._database.execute("UPDATE batches SET state = ?, owner = NULL WHERE name = ?", (state, name))
            return left.rowcount
