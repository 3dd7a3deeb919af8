"""Estimate tokens, cost and duration of a run before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .flow import GenerationLimits, estimate_tokens
from .ledger import LedgerProgress, seed_hash
from .seeds import Seed
from .writer_prompt import WriterPrompt
from .writers import TokenUsage

TYPICAL_REPLY = 2000
"""Tokens of a reply, assumed until there are results."""
SPEED = 50.0
"""Assumed tokens per second that an endpoint writes for one request."""


@dataclass(frozen=True)
class WritingEstimate:
    """The estimate for the seeds without a result.

    seconds: at `SPEED` per concurrent request and within the limits per minute. basis: number of earlier results that
    the estimate is based on; 0 if it assumes the prompts' length and replies of `TYPICAL_REPLY` tokens.
    """

    seeds: int
    usage: TokenUsage
    seconds: float
    basis: int


def estimate(
    seeds: Iterable[Seed],
    prompt: WriterPrompt,
    limits: GenerationLimits,
    progress: LedgerProgress,
    *,
    longest: int,
    batched: bool = False,
) -> WritingEstimate:
    """Estimate the remaining work. progress: of earlier runs. longest: maximum tokens of a reply."""
    number = tokens_in = 0
    for seed in seeds:
        if seed_hash(seed.id, seed.kind, seed.text) not in progress.seeds:
            number += 1
            tokens_in += estimate_tokens(prompt.render(seed))
    tokens_out = number * min(TYPICAL_REPLY, longest)
    basis = progress.results if progress.usage.tokens_out else 0
    if basis:
        tokens_in = number * progress.usage.tokens_in // basis
        tokens_out = number * progress.usage.tokens_out // basis
    seconds = tokens_out / SPEED / min(limits.concurrency, max(1, number))
    for amount, rate in ((number, limits.rpm), (tokens_in + tokens_out, limits.tpm)):
        if rate is not None:
            seconds = max(seconds, 60 * amount / rate)
    return WritingEstimate(number, limits.usage(tokens_in, tokens_out, batched=batched), seconds, basis)
