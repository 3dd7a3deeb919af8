"""Stop a run that pays for unusable replies.

The ledger stores a verdict on every reply, so that a resumed run, or another process, knows them at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .ledger import Verdict

LEAST = 20
"""Minimum number of replies to judge by."""
WINDOW = 100
"""Number of latest replies to judge by."""
SHARE = 0.9
"""Share of unusable replies from which a run stops."""
SAME_TEXT = "the same text as another reply"


@dataclass(frozen=True)
class Rejections:
    """The unusable ones among the latest `replies`. reasons: count by class of problem, most common first. seed,
    problem: an example of the most common."""

    replies: int
    reasons: dict[str, int]
    seed: str = ""
    problem: str = ""

    @property
    def unusable(self) -> int:
        """Number of unusable replies."""
        return sum(self.reasons.values())

    @property
    def excessive(self) -> bool:
        """Whether there are so many that a run has to stop."""
        return self.replies >= LEAST and self.unusable >= SHARE * self.replies


def count_rejections(verdicts: Sequence[Verdict]) -> Rejections:
    """Count the verdicts on the latest replies, given newest first.

    Of replies with equal text only the oldest is usable, as when the set is assembled.
    """
    reasons = Counter[str]()
    texts = set[str]()
    for verdict in reversed(verdicts):
        if verdict.problem is not None:
            reasons[verdict.problem] += 1
        elif verdict.digest is not None and verdict.digest in texts:
            reasons[SAME_TEXT] += 1
        elif verdict.digest is not None:
            texts.add(verdict.digest)
    return Rejections(len(verdicts), dict(reasons.most_common()))
