"""The verbs `generate` and `merge`: sets of Tideos by a writer that is asked, put together from their parts.

The micro world's writer, which is asked for nothing, is in `microworld.generate`. What all sets share is that they are
cleaned, balanced and described.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.cluster import map_shards
from ..core.errors import TopaError, UsageError
from ..core.shards import ShardSpec
from . import shards
from .assemble import TIDEOS
from .estimate import estimate as estimate_seeds
from .flow import GenerationLimits, GenerationOutcome
from .generate_result import GenerateEstimate, GenerateResult
from .ledger import LEDGER, LedgerProgress, read_progress
from .prompt_file import DEFAULT_FORM, ReplyForm
from .quality import Checks
from .seeds import Seed, read_seeds
from .set_result import SetResult
from .verbs import NEAR, GenerateConfig, MergeConfig
from .writer_prompt import WriterPrompt, reply_schema
from .writers import Writer


def generate(config: GenerateConfig, *, show: bool = True) -> GenerateResult:
    """Have a set written by a writer that is asked, see `topa.tideos.collect`; in shards on the workers of a Ray
    cluster, or of this machine, where `ray` says how many. Whoever sits at the terminal is asked first whether to spend
    without a budget.

    Raises UsageError for what doesn't fit the writer, where nobody can be asked, and where Ray isn't installed;
    WorkerError where shards fail, with their own words.
    """
    expect_resumable(config)
    if config.budget is None and not config.yes and config.paid:
        open_writer(config)  # what is missing is said before anybody is asked
        _confirm(estimate(config))
    outcome = _write(config, show) if config.ray is None else _on_ray(config, config.ray)
    return GenerateResult(outcome, config.folder, config.shard, config.seed, limits_of(config).money)


def merge(config: MergeConfig) -> SetResult:
    """Make one set of the finished shards in a folder; see `topa.tideos.shards`."""
    checks = None if config.near is None else Checks(near=config.near)
    return SetResult(config.out, shards.merge(config.out, seed=config.seed, checks=checks))


def estimate(config: GenerateConfig) -> GenerateEstimate:
    """Say about what the seeds take that have no result yet, and what the first of them is asked."""
    if config.kind == "microworld":
        raise UsageError("generate: the micro world has no use for --dry-run. Leave it out, or name a --writer.")
    expect_resumable(config)
    prompt, limits, part = prompt_of(config), limits_of(config), config.shard
    first = next(seeds_of(config, 1))
    seeds = (s for n, s in enumerate(seeds_of(config)) if part is None or part.has(n))
    number = config.ray
    folders = [config.folder] if number is None else [ShardSpec(n, number).folder(config.out) for n in range(number)]
    progress = sum((read_progress(folder / LEDGER) for folder in folders), LedgerProgress())
    found = estimate_seeds(seeds, prompt, limits, progress, longest=config.max_tokens, batched=config.kind == "batch")
    return GenerateEstimate(prompt.render(first), found, limits.money)


def expect_resumable(config: GenerateConfig) -> None:
    """Raise UsageError where a folder holds something already that isn't to be gone on with."""
    found = next((name for name in (LEDGER, TIDEOS) if (config.folder / name).exists()), None)
    if found and not config.resume:
        raise UsageError(
            f"--no-resume: found {found} in {config.folder}; expected a folder without one. Leave the option out to "
            "go on with what is there, or name another folder with --out."
        )


def prompt_of(config: GenerateConfig) -> WriterPrompt:
    """Return the user's own prompt, or topa's."""
    return WriterPrompt() if config.prompt is None else WriterPrompt.from_file(config.prompt)


def checks_of(config: GenerateConfig) -> Checks:
    """What Tideos of a writer must be like. The micro world's stories are short and alike: of them only exact
    duplicates are looked for."""
    near = 1.0 if config.kind == "microworld" else NEAR
    return Checks(near=near if config.near is None else config.near)


def limits_of(config: GenerateConfig) -> GenerationLimits:
    """What a run may do."""
    names = ("concurrency", "rpm", "tpm", "budget", "price_in", "price_out", "poll", "accept_rejections")
    return GenerationLimits(**{name: getattr(config, name) for name in names})


def seeds_of(config: GenerateConfig, limit: int | None = None) -> Iterator[Seed]:
    """The seeds, or the first of them. Raises UsageError where no file is given."""
    if config.seeds is None:
        raise UsageError(
            "generate: this writer needs seeds. Give --seeds FILE. Make one: topa seeds FILE --kind text "
            "--out seeds.jsonl"
        )
    return islice(read_seeds(config.seeds), limit or config.limit)


def check_writer(config: GenerateConfig) -> None:
    """Raise UsageError where what the writer needs isn't given, or what it doesn't know is."""
    if config.model is None:
        raise UsageError(f"generate: the writer {config.kind} needs --model.")
    if config.kind == "local" and config.base_url is not None:
        raise UsageError("generate: the writer local has no endpoint. Leave out --base-url, or --writer local.")
    if config.kind != "local" and config.base_url is None:
        raise UsageError("generate: an endpoint needs --base-url, such as https://host/v1.")


def open_writer(config: GenerateConfig, form: ReplyForm = DEFAULT_FORM) -> Writer:
    """Open the writer of a config, held to this form of replies. Raises as `check_writer` does."""
    check_writer(config)
    model, address = config.model or "", config.base_url or ""
    reply: dict[str, Any] = {"max_tokens": config.max_tokens, "temperature": config.temperature}
    reply["schema"] = reply_schema(form)
    if config.kind == "local":
        from .local import Local

        return Local(model, batch=config.concurrency, seed=config.seed, **reply)
    from .batch_endpoint import BatchEndpoint
    from .endpoint import Endpoint

    kind = BatchEndpoint if config.kind == "batch" else Endpoint
    return kind(address, model, key_env=config.key_env, timeout=config.timeout, **reply)


def _confirm(estimate: GenerateEstimate) -> None:
    """Ask whoever sits at the terminal whether to spend without a budget; where nobody does, refuse to."""
    if not estimate.cost.seeds:  # nothing is left to be asked
        return
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise UsageError(
            f"generate: found no --budget, and nobody at a terminal to ask. {estimate.summary}. Nothing was sent. Give "
            "--budget with what may be spent (tokens, or money with prices), or --yes to go on without a limit."
        )
    question = "No --budget is given, so nothing limits what is spent. Go on? [y/N] "
    print(f"{estimate.summary}\n{question}", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TopaError("nothing was sent. Give --budget to go on within a limit")


def _write(config: GenerateConfig, show: bool) -> GenerationOutcome:
    from .collect import generate_set

    check_writer(config)
    prompt, limits = prompt_of(config), limits_of(config)
    next(seeds_of(config, 1), None)  # a file that can't be read is told before a writer is opened, or a model loaded
    writer = open_writer(config, prompt.form)
    if config.kind == "local":  # while a batch is written, the next one gathers
        limits = replace(limits, concurrency=2 * limits.concurrency)
    return generate_set(
        seeds_of(config),
        config.folder,
        writer,
        prompt=prompt,
        limits=limits,
        shard=config.shard,
        seed=config.seed,
        checks=checks_of(config),
        show=show,
    )


def _on_ray(config: GenerateConfig, number: int) -> GenerationOutcome:
    """Write the set in `number` shards, and merge them. The folder must be one that all workers see; the same call
    again goes on with what is left. The budget and the rates are for all shards together."""
    part = limits_of(config).part(number)
    whole = replace(
        config,
        out=config.out.absolute(),  # a worker may have another working folder
        seeds=config.seeds and config.seeds.absolute(),
        prompt=config.prompt and config.prompt.absolute(),
        model=str(Path(config.model).absolute()) if config.model and Path(config.model).is_dir() else config.model,
        budget=part.budget,
        rpm=part.rpm,
        tpm=part.tpm,
        ray=None,
    )
    outcome = GenerationOutcome.total(map_shards(partial(_shard, whole, number), number))
    if outcome.stopped is None and not outcome.left:
        outcome.report = shards.merge(config.out, seed=config.seed, checks=checks_of(config), show=False)
        outcome.path = config.out / TIDEOS
    return outcome


def _shard(config: GenerateConfig, number: int, index: int) -> dict[str, Any]:
    return _write(replace(config, shard=ShardSpec(index, number)), show=False).as_json()
