"""A part of a set or a store: which items belong to it, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError


@dataclass(frozen=True)
class ShardSpec:
    """Shard `index` of `of`: the seeds whose position modulo `of` is `index`."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise UsageError(f"shard {self}: expected i/n with i from 0 to n - 1, such as 0/4, 1/4, 2/4, 3/4.")

    @classmethod
    def parse(cls, text: str) -> ShardSpec:
        """Parse i/n. Raises UsageError."""
        index, slash, of = text.partition("/")
        if not slash or not index.isascii() or not index.isdigit() or not of.isascii() or not of.isdigit():
            raise UsageError(f"shard {text!r}: expected i/n with i from 0 to n - 1, such as 0/4.")
        return cls(int(index), int(of))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def has(self, number: int) -> bool:
        """Whether the seed at this position belongs to the shard."""
        return number % self.of == self.index

    def folder(self, out: Path) -> Path:
        """Return the shard's folder in the set at `out`."""
        return out / f"shard-{self.index}-of-{self.of}"
