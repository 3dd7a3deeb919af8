"""What `generate` gives: what became of the seeds, or about what they would take, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.command import command_line
from ..core.errors import TopaError
from ..core.printable import Hint, Note, Printable
from ..core.shards import ShardSpec
from .estimate import SPEED, TYPICAL_REPLY, WritingEstimate
from .flow import GenerationOutcome
from .prompt_file import DECLARE
from .set_result import SetResult
from .writer_prompt import UNKNOWN_KIND


@dataclass(frozen=True)
class GenerateEstimate(Printable):
    """prompt: of the first seed. cost: of all that have no result yet. money: whether prices are known."""

    prompt: str
    cost: WritingEstimate
    money: bool

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        cost = asdict(self.cost)
        return {"prompt": self.prompt, "estimate": cost.pop("usage"), **cost}

    def lines(self) -> Iterator[str | Note]:
        """Yield what people read."""
        yield self.prompt
        yield Note(self.summary)

    @property
    def summary(self) -> str:
        """The cost in words."""
        cost, usage = self.cost, self.cost.usage
        money = f", cost about {usage.cost:.2f}" if self.money else ", cost unknown without --price-in and --price-out"
        basis = f"as {cost.basis:,} seeds of this folder took on average, repairs included"
        if not cost.basis:
            replies = f"replies of at most {TYPICAL_REPLY:,} tokens, without repairs"
            basis = f"guessed from the length of the prompts and {replies}"
        return (
            f"{cost.seeds:,} seeds: about {usage.tokens_in:,} tokens read, {usage.tokens_out:,} written{money} "
            f"({basis}); about {cost.seconds / 60:,.1f} minutes if the writer gives {SPEED:.0f} tokens a second to "
            "each request"
        )


@dataclass(frozen=True)
class GenerateResult(Printable):
    """What became of the seeds. folder, part, seed: see `SetResult`. money: whether prices are known."""

    outcome: GenerationOutcome
    folder: Path
    part: ShardSpec | None
    seed: int
    money: bool

    @property
    def failure(self) -> BaseException | None:
        """Why a run that ended failed all the same."""
        outcome = self.outcome
        if outcome.stopped == "interrupted":
            return KeyboardInterrupt()
        if outcome.rejections is not None:
            return TopaError(self._rejections())
        kept = outcome.report is not None and outcome.report.kept
        if outcome.stopped or outcome.left or outcome.elsewhere or not outcome.seeds or kept:
            return None
        refused = sorted(outcome.refused.items(), key=lambda pair: -pair[1])
        dropped = {} if outcome.report is None else outcome.report.dropped
        reasons = [*refused, *((reason, found["count"]) for reason, found in dropped.items())]
        text = "; ".join(f"{count:,} x {reason}" for reason, count in reasons)
        return TopaError(f"no Tideo came of {outcome.seeds:,} seeds: {text}.{_advice(text)}")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return self.outcome.as_json()

    def lines(self) -> Iterator[str | Note | Hint]:
        """Yield what people read."""
        outcome = self.outcome
        yield (
            f"written: {outcome.accepted} of {outcome.seeds} (rejected {outcome.rejected}, failed {outcome.failed}, "
            f"left {outcome.left}, in another process {outcome.elsewhere}; spent {self._spent})"
        )
        for kind, count in sorted(outcome.failures.items()):
            yield Note(f"note: {count} x {kind}")
        if outcome.stopped == "budget":
            yield Note(
                f"note: the budget is used up: one more reply might take {outcome.needed:,.6g}. "
                "Run the same command with a larger --budget to go on"
            )
        if outcome.submitted:
            yield Note(
                f"note: {outcome.submitted:,} of those left are in batches, on which the provider goes on working. "
                "The same command collects them"
            )
        if outcome.report is not None:
            yield from SetResult(self.folder, outcome.report, self.part, seed=self.seed).lines()

    @property
    def _spent(self) -> str:
        spent = self.outcome.spent
        return f"{f'{spent.cost:.4f}, ' if self.money else ''}{spent.tokens:,} tokens"

    def _rejections(self) -> str:
        found = self.outcome.rejections
        assert found is not None
        reasons = "".join(f"\n  {count:,} x {reason}" for reason, count in found.reasons.items())
        example = f"\nFor example seed {found.seed}: {found.problem}" if found.seed else ""
        return (
            f"stopped, as {found.unusable} of the latest {found.replies} replies can't be used:{reasons}{example}\n"
            f"Paid for so far: {self._spent}; all replies are kept.{_advice(*found.reasons)} "
            f"To go on all the same:\n  {command_line(*sys.argv[1:], '--accept-rejections')}"
        )


def _advice(*reasons: str) -> str:
    return f" {DECLARE}" if any(UNKNOWN_KIND in reason for reason in reasons) else ""
