"""Whether a run pays for nothing: of the latest replies so many can't be used that it isn't worth going on.

The ledger keeps a verdict on every reply, so that a run which is started again, or another process, knows at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .ledger import Verdict

LEAST = 20
"""Replies after which it is asked for the first time."""
WINDOW = 100
"""Of more replies than this the latest are looked at."""
SHARE = 0.9
"""Of them that can't be used: then the run stops."""
SAME_TEXT = "the same text as another reply"


@dataclass(frozen=True)
class Rejections:
    """Of the latest `replies` those that can't be used, by class of problem, the commonest first. `seed`, `problem`: an
    example of the commonest."""

    replies: int
    reasons: dict[str, int]
    seed: str = ""
    problem: str = ""

    @property
    def unusable(self) -> int:
        """How many can't be used."""
        return sum(self.reasons.values())

    @property
    def excessive(self) -> bool:
        """Whether these are so many that a run has to stop."""
        return self.replies >= LEAST and self.unusable >= SHARE * self.replies


def count_rejections(verdicts: Sequence[Verdict]) -> Rejections:
    """What the verdicts on the latest replies, newest first, add up to. Of replies with one text the first is usable,
    as it is when the set is put together."""
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
