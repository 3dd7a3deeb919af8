"""What was left out and why: counts by reason, with some names of each."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES = 5
"""How many names are kept for each reason."""


class DropCounts:
    """Counts by reason, in the order in which the reasons came up.

    counts: reason to number. examples: reason to the first names, at most `EXAMPLES` of them.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.examples.setdefault(reason, [])
        if len(named) < EXAMPLES:
            named.append(name)

    @property
    def total(self) -> int:
        """All of them, whatever the reason."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Mapping[str, object]]:
        """Reason to its count and examples."""
        return {reason: {"count": n, "examples": self.examples[reason]} for reason, n in self.counts.items()}

    def lines(self) -> list[str]:
        """One line a reason, for people."""
        return [f"{n:,}: {reason} (such as {', '.join(self.examples[reason])})" for reason, n in self.counts.items()]
