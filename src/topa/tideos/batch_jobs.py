"""The batches of a ledger: which calls are in which batch at the provider.

A batch gets its name and its calls before it is submitted, so that its name shows later whether the provider has it.
Recording its replies is idempotent: each is stored and counted once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from .ledger import Ledger, State, WriterCall, WriterReply
from .seeds import Seed
from .writers import TokenUsage

_REFUSE = (
    "UPDATE calls SET batch = NULL, error = 'transient',"
    " state = CASE WHEN refusals + 1 >= :tries THEN 'failed' ELSE 'planned' END,"
    " refusals = CASE WHEN refusals + 1 >= :tries THEN 0 ELSE refusals + 1 END"
    " WHERE batch = :batch AND state = 'submitted'"
)


@dataclass(frozen=True)
class BatchJob:
    """A batch that isn't collected yet. file, remote: the provider's ids of its input and of the batch, once known."""

    name: str
    file: str | None
    remote: str | None


class BatchJobs:
    """The batches of a ledger. Like a call, a batch is owned by one process at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._transaction = ledger.transaction

    def revive(self) -> None:
        """Reset the failed calls of this run to planned."""
        with self._transaction():
            self._database.execute(
                "UPDATE calls SET state = 'planned', error = NULL"
                " WHERE state = 'failed' AND key IN (SELECT key FROM wanted)"
            )

    def submit(self, keys: Sequence[str], tokens_in: int, tokens_out: int) -> BatchJob:
        """Put calls of this process into a new batch, which uses at most this many tokens."""
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
        """Take ownership of the open batches that no other running process owns."""
        jobs = []
        with self._transaction():
            rows = self._database.execute(
                "SELECT name, file, remote, owner FROM batches WHERE state = 'open' ORDER BY rowid"
            ).fetchall()
            for name, file, remote, owner in rows:
                if owner not in (None, self._ledger.owner) and self._ledger.alive(owner):
                    continue
                self._database.execute("UPDATE batches SET owner = ? WHERE name = ?", (self._ledger.owner, name))
                jobs.append(BatchJob(name, file, remote))
        return jobs

    def count_open(self) -> int:
        """Count the batches of all processes that aren't collected yet."""
        with self._transaction():
            (number,) = self._database.execute("SELECT count(*) FROM batches WHERE state = 'open'").fetchone()
            return int(number)

    def set_file(self, name: str, file: str) -> None:
        """Store the provider's id of a batch's request file."""
        with self._transaction():
            self._database.execute("UPDATE batches SET file = ? WHERE name = ?", (file, name))

    def set_remote(self, name: str, remote: str) -> None:
        """Store the provider's id of a batch."""
        with self._transaction():
            self._database.execute("UPDATE batches SET remote = ? WHERE name = ?", (remote, name))

    def calls(self, name: str, after: str, limit: int) -> list[WriterCall]:
        """Return the calls of a batch without a reply, by key, starting after the key `after`."""
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
        """Store an unmodified reply and add its usage; return whether it is new."""
        with self._transaction():
            cursor = self._database.execute(
                "INSERT OR IGNORE INTO replies (key, raw, batch) VALUES (?, ?, ?)", (key, raw, name)
            )
            if cursor.rowcount:
                self._ledger.count(WriterReply(int(cursor.lastrowid or 0), raw, is_counted=False), usage)
            self._database.execute(
                "UPDATE calls SET state = 'replied', batch = NULL, refusals = 0"
                " WHERE key = ? AND batch = ? AND state = 'submitted'",
                (key, name),
            )
            return bool(cursor.rowcount)

    def refuse(self, name: str, key: str, tries: int) -> None:
        """Plan a call again that the provider didn't finish, or mark it failed after `tries` tries."""
        with self._transaction():
            self._database.execute(f"{_REFUSE} AND key = :key", {"tries": tries, "batch": name, "key": key})

    def settle(self, name: str, key: str, state: State, error: str | None = None) -> None:
        """Take a call without a reply out of its batch, into another state."""
        with self._transaction():
            self._database.execute(
                "UPDATE calls SET state = ?, batch = NULL, error = ?, refusals = 0"
                " WHERE key = ? AND batch = ? AND state = 'submitted'",
                (state, error, key, name),
            )

    def end(self, name: str, state: str, tries: int | None) -> int:
        """Close a batch and return how many of its calls have no reply.

        These are planned again as by `refuse`, or, if `tries` is None, as if they had never been submitted.
        """
        with self._transaction():
            if tries is None:
                cursor = self._database.execute(
                    "UPDATE calls SET state = 'planned', batch = NULL WHERE batch = ? AND state = 'submitted'", (name,)
                )
            else:
                cursor = self._database.execute(_REFUSE, {"tries": tries, "batch": name})
            self._database.execute("UPDATE batches SET state = ?, owner = NULL WHERE name = ?", (state, name))
            return cursor.rowcount
