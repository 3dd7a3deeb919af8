"""What the verbs that make a set of Tideos give: generate, merge, clean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.command import typed
from ..core.printable import Hint, Note, Printable
from .assemble import TIDEOS

if TYPE_CHECKING:
    from ..core.shards import ShardSpec
    from .quality import CleaningReport


@dataclass(frozen=True)
class SetResult(Printable):
    """A set, or a part of one, in a folder. recipe: that it is for, where it is known. seed: that it was made with."""

    folder: Path
    report: CleaningReport
    part: ShardSpec | None = None
    recipe: str = "RECIPE"
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return self.report.model_dump(mode="json")

    def lines(self) -> Iterator[str | Note | Hint]:
        """Yield what people read."""
        report, leakage = self.report, self.report.leakage
        for reason, dropped in report.dropped.items():
            yield Note(f"left out: {dropped['count']:,}: {reason} (such as {', '.join(dropped['examples'])})")
        yield f"kept:    {report.kept:,} of {report.read:,} Tideos in {self.folder / TIDEOS}"
        yield f"letters: {report.before} before, {report.after} after"
        overlap = f"most like the question {leakage.overlap:.1%}"
        yield f"blind:   longest option {leakage.longest:.1%}, {overlap}, chance {leakage.chance:.1%}"
        yield f"card:    {self.folder / 'card.html'}"
        if self.part is not None:
            seed = ["--seed", self.seed] if self.seed else []
            command = typed("merge", self.folder.parent, *seed)
            yield Hint(f"next:    {command}  # when all {self.part.of} shards are done")
        elif report.kept:
            words = ["--recipe", self.recipe, "--tideos", self.folder / TIDEOS, "--out", "model"]
            yield Hint(f"next:    {typed('align', *words)}")
