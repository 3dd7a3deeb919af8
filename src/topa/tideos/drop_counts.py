"""Count dropped items by reason, with examples of each."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES = 5
"""Number of example names per reason."""


class DropCounts:
    """Counts by reason, in order of first occurrence.

    counts: number by reason. examples: first names by reason, at most `EXAMPLES` of each.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one item."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(name)

    @property
    def total(self) -> int:
        """Total over all reasons."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Mapping[str, object]]:
        """Return count and examples by reason."""
        return {reason: {"count": n, "examples": self.examples[reason]} for reason, n in self.counts.items()}

    def lines(self) -> list[str]:
        """Format one line per reason."""
        return [f"{n:,}: {reason} (such as {', '.join(self.examples[reason])})" for reason, n in self.counts.items()]
