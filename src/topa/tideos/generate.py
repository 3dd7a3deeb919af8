"""Sets of Tideos by any writer: the verbs behind `topa generate` and `topa merge`, put together from their parts.

The micro world's writer is asked for nothing: it has no endpoint, no seeds and no ledger, since nothing of it can be
lost. What all sets share is that they are cleaned, balanced and described.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.cluster import map_shards
from ..core.errors import UsageError
from ..core.registry import unknown
from . import shards
from .assemble import TIDEOS
from .estimate import WritingEstimate
from .estimate import estimate as estimate_flow
from .flow import GenerationLimits, GenerationOutcome
from .ledger import LEDGER, LedgerProgress, read_progress
from .prompt_file import DEFAULT_FORM, ReplyForm
from .quality import Checks, CleaningReport
from .seeds import Seed, read_seeds
from .shards import ShardSpec
from .writer_prompt import WriterPrompt
from .writers import Writer

WRITERS = ("openai", "batch", "local", "microworld")
NEAR = 0.8
"""From which overlap two Tideos of a language model are near duplicates, by default."""


@dataclass(frozen=True)
class GenerationPlan:
    """What a run writes, and where. limit: of the seeds the first ones. part: of these a shard. near: see `Checks`; by
    default only exact duplicates are looked for in the micro world, whose stories are short and alike, and near ones
    elsewhere. resume: whether to go on with a folder that holds
    some of it already."""

    out: Path
    writer: str
    part: ShardSpec | None = None
    limit: int | None = None
    seed: int = 0
    near: float | None = None
    resume: bool = True

    def __post_init__(self) -> None:
        found = next((name for name in (LEDGER, TIDEOS) if (self.folder / name).exists()), None)
        if found and not self.resume:
            raise UsageError(
                f"--no-resume: found {found} in {self.folder}; expected a folder without one. Leave the option out to "
                "go on with what is there, or name another folder with --out."
            )

    @property
    def checks(self) -> Checks:
        """What Tideos of this writer must be like."""
        near = self.near if self.near is not None else 1.0 if self.writer == "microworld" else NEAR
        return Checks(near=near)

    @property
    def folder(self) -> Path:
        """Where the set, or the part of it, lies."""
        return self.out if self.part is None else self.part.folder(self.out)


@dataclass(frozen=True)
class WriterInputs:
    """What a writer is given: the file of the seeds, and the user's own prompt, if there is one."""

    seeds: Path | None
    prompt: Path | None = None

    @property
    def asking(self) -> WriterPrompt:
        """How seeds become prompts."""
        return WriterPrompt() if self.prompt is None else WriterPrompt.from_file(self.prompt)

    def first(self, limit: int | None) -> Iterator[Seed]:
        """The seeds, or the first of them. Raises UsageError where no file is given."""
        if self.seeds is None:
            raise UsageError(
                "generate: this writer needs seeds. Give --seeds FILE. Make one: topa seeds FILE --kind text "
                "--out seeds.jsonl"
            )
        return islice(read_seeds(self.seeds), limit)


def is_paid(writer: str) -> bool:
    """Whether whoever runs this writer may have to pay for what it writes."""
    return writer not in ("microworld", "local")


def name_of(writer: str | None, base_url: str | None) -> str:
    """The writer that is meant. Raises UsageError for one that nobody knows."""
    name = writer or ("microworld" if base_url is None else "openai")
    if name not in WRITERS:
        raise unknown("writer", name, WRITERS)
    return name


@dataclass(frozen=True)
class WriterOptions:
    """Which writer is asked, and how; nothing of it is open yet, so that it can travel to other processes.

    model: its name at the endpoint, or for `local` a folder or hub id. batch: for `local`, requests in one batch.
    """

    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    max_tokens: int = 8192
    temperature: float | None = None
    timeout: float = 300.0
    batch: int = 8


def refuse_for_microworld(options: Mapping[str, object]) -> None:
    """Raises UsageError for the first option, by its name, that was given and that only a writer that is asked has."""
    for name, value in options.items():
        if value:
            raise UsageError(f"generate: the micro world has no use for {name}. Leave it out, or name a --writer.")


def check_writer(plan: GenerationPlan, options: WriterOptions) -> None:
    """Raise UsageError where what the writer needs isn't given, or what it doesn't know is."""
    if options.model is None:
        raise UsageError(f"generate: the writer {plan.writer} needs --model.")
    if plan.writer == "local" and options.base_url is not None:
        raise UsageError("generate: the writer local has no endpoint. Leave out --base-url, or --writer local.")
    if plan.writer != "local" and options.base_url is None:
        raise UsageError("generate: an endpoint needs --base-url, such as https://host/v1.")


def open_writer(plan: GenerationPlan, options: WriterOptions, form: ReplyForm = DEFAULT_FORM) -> Writer:
    """The writer of a plan, held to this form of replies. Raises as `check_writer` does."""
    from .writer_prompt import reply_schema

    check_writer(plan, options)
    assert options.model is not None
    if plan.writer == "local":
        from .local import Local

        return Local(
            options.model,
            schema=reply_schema(form),
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            batch=options.batch,
            seed=plan.seed,
        )
    assert options.base_url is not None
    from .batch_endpoint import BatchEndpoint
    from .endpoint import Endpoint

    kind = BatchEndpoint if plan.writer == "batch" else Endpoint
    return kind(
        options.base_url,
        options.model,
        key_env=options.key_env,
        schema=reply_schema(form),
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        timeout=options.timeout,
    )


def estimate(
    given: WriterInputs,
    plan: GenerationPlan,
    options: WriterOptions,
    limits: GenerationLimits,
    shards: int | None = None,
) -> tuple[str, WritingEstimate]:
    """The prompt of the first seed, and about what the seeds take that have no result yet. `shards`: into how many the
    work is divided, where all are meant."""
    asking = given.asking
    first = next(given.first(1))
    seeds = (s for n, s in enumerate(given.first(plan.limit)) if plan.part is None or plan.part.has(n))
    folders = [plan.folder] if shards is None else [ShardSpec(n, shards).folder(plan.out) for n in range(shards)]
    progress = sum((read_progress(folder / LEDGER) for folder in folders), LedgerProgress())
    return asking.prompt(first), estimate_flow(
        seeds, asking, limits, progress, longest=options.max_tokens, batched=plan.writer == "batch"
    )


def generate(
    plan: GenerationPlan, given: WriterInputs, options: WriterOptions, limits: GenerationLimits, *, show: bool = True
) -> GenerationOutcome:
    """Have the set written by a writer that is asked; see `topa.tideos.collect`."""
    from .collect import generate as run

    check_writer(plan, options)
    asking = given.asking
    next(given.first(1), None)  # a file that can't be read is told before a writer is opened, or a model loaded
    writer = open_writer(plan, options, asking.form)
    if plan.writer == "local":  # while a batch is written, the next one gathers
        limits = replace(limits, concurrency=2 * limits.concurrency)
    return run(
        given.first(plan.limit),
        plan.folder,
        writer,
        asking=asking,
        limits=limits,
        shard=plan.part,
        seed=plan.seed,
        checks=plan.checks,
        show=show,
    )


def on_ray(
    plan: GenerationPlan, given: WriterInputs, options: WriterOptions, limits: GenerationLimits, number: int
) -> GenerationOutcome:
    """Write the set in `number` shards on the workers of a Ray cluster, or of this machine, and merge them.

    The folder must be one that all workers see. The same call again goes on with what is left. The budget and the rates
    are for all shards together. Raises UsageError where Ray isn't installed, WorkerError where shards fail, with their
    own words.
    """
    whole = replace(plan, out=plan.out.absolute())  # a worker may have another working folder
    given = WriterInputs(*(path and path.absolute() for path in (given.seeds, given.prompt)))
    if options.model is not None and Path(options.model).is_dir():
        options = replace(options, model=str(Path(options.model).absolute()))
    shard = partial(_shard, whole, given, options, limits.part(number), number)
    outcome = GenerationOutcome.total(map_shards(shard, number))
    if outcome.stopped is None and not outcome.left:
        outcome.report = merge(plan.out, seed=plan.seed, checks=plan.checks, show=False)
        outcome.path = plan.out / TIDEOS
    return outcome


def _shard(
    plan: GenerationPlan, given: WriterInputs, options: WriterOptions, limits: GenerationLimits, number: int, index: int
) -> dict[str, Any]:
    part = replace(plan, part=ShardSpec(index, number))
    return generate(part, given, options, limits, show=False).as_json()


def merge(out: Path, *, seed: int, checks: Checks | None, show: bool = True) -> CleaningReport:
    """One set of the finished shards in a folder; see `topa.tideos.shards`."""
    return shards.merge(out, seed=seed, checks=checks, show=show)
