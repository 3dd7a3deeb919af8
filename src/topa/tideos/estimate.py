"""What a run will about take, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .flow import GenerationLimits, estimate_tokens
from .ledger import LedgerProgress, TokenUsage, seed_hash
from .seeds import Seed
from .writer_prompt import WriterPrompt

TYPICAL_REPLY = 2000
"""Tokens of a reply, as long as none has come."""
SPEED = 50.0
"""Tokens that an endpoint writes for one request in a second; an assumption, of which `WritingEstimate` says so."""


@dataclass(frozen=True)
class WritingEstimate:
    """What the seeds without a result take. `basis`: on how many results of the same folder it rests; 0: on the
    length of the prompts, and replies of `TYPICAL_REPLY` tokens that are all good at once. `seconds`: at `SPEED` for
    each request at a time, and within the limits per minute."""

    seeds: int
    usage: TokenUsage
    seconds: float
    basis: int


def estimate(
    seeds: Iterable[Seed],
    asking: WriterPrompt,
    limits: GenerationLimits,
    progress: LedgerProgress,
    *,
    longest: int,
    batched: bool = False,
) -> WritingEstimate:
    """What is left of these seeds takes. `progress`: of what was written before; `longest`: tokens of a reply."""
    number = tokens_in = 0
    for seed in seeds:
        if seed_hash(seed.id, seed.kind, seed.text) not in progress.seeds:
            number += 1
            tokens_in += estimate_tokens(asking.prompt(seed))
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
