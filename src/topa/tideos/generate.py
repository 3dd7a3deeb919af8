"""Generate sets of Tideos with any writer: the verbs `topa generate` and `topa merge`.

The micro world's writer (`microworld.generate`) needs no endpoint, seeds or ledger. All sets are cleaned, balanced and
described in the same way.
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
from .estimate import estimate as estimate_seeds
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
"""Default similarity from which two Tideos written by a language model are near duplicates."""


@dataclass(frozen=True)
class GenerationPlan:
    """What a run writes, and where.

    limit: use only the first seeds. part: a shard of them. near: see `Checks`; by default 1, exact duplicates only, for
    the micro world, whose stories are short and similar, and `NEAR` otherwise. resume: go on with a folder that already
    holds results.
    """

    out: Path
    writer: str
    part: ShardSpec | None = None
    limit: int | None = None
    seed: int = 0
    near: float | None = None
    resume: bool = True

    def __post_init__(self) -> None:
        existing = next((name for name in (LEDGER, TIDEOS) if (self.folder / name).exists()), None)
        if existing and not self.resume:
            raise UsageError(
                f"--no-resume: found {existing} in {self.folder}; expected a folder without one. Leave the option out "
                "to go on with what is there, or name another folder with --out."
            )

    @property
    def checks(self) -> Checks:
        """The quality checks for this writer's Tideos."""
        near = self.near if self.near is not None else 1.0 if self.writer == "microworld" else NEAR
        return Checks(near=near)

    @property
    def folder(self) -> Path:
        """The folder of the set, or of its shard."""
        return self.out if self.part is None else self.part.folder(self.out)


@dataclass(frozen=True)
class WriterInputs:
    """The input files of a writer: the seeds, and optionally the user's own prompt."""

    seeds: Path | None
    prompt: Path | None = None

    @property
    def writer_prompt(self) -> WriterPrompt:
        """The user's own prompt, or topa's."""
        return WriterPrompt() if self.prompt is None else WriterPrompt.from_file(self.prompt)

    def first(self, limit: int | None) -> Iterator[Seed]:
        """Yield the first `limit` seeds, None for all. Raises UsageError if there is no file of seeds."""
        if self.seeds is None:
            raise UsageError(
                "generate: this writer needs seeds. Give --seeds FILE. Make one: topa seeds FILE --kind text "
                "--out seeds.jsonl"
            )
        return islice(read_seeds(self.seeds), limit)


def is_paid(writer: str) -> bool:
    """Whether the user may have to pay for this writer's replies."""
    return writer not in ("microworld", "local")


def name_of(writer: str | None, base_url: str | None) -> str:
    """Return the writer's name, with the default for the options. Raises UsageError for an unknown one."""
    name = writer or ("microworld" if base_url is None else "openai")
    if name not in WRITERS:
        raise unknown("writer", name, WRITERS)
    return name


@dataclass(frozen=True)
class WriterOptions:
    """The options of a writer, without open connections, so that they can be sent to other processes.

    model: its name at the endpoint, or for `local` a folder or Hub id. batch: for `local`, requests per batch.
    """

    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    max_tokens: int = 8192
    temperature: float | None = None
    timeout: float = 300.0
    batch: int = 8


def refuse_for_microworld(options: Mapping[str, object]) -> None:
    """Raise UsageError if an option is set that the micro world's writer doesn't have. options: value by name."""
    for name, value in options.items():
        if value:
            raise UsageError(f"generate: the micro world has no use for {name}. Leave it out, or name a --writer.")


def check_writer(plan: GenerationPlan, options: WriterOptions) -> None:
    """Raise UsageError if an option that the writer needs is missing, or one that it doesn't have is set."""
    if options.model is None:
        raise UsageError(f"generate: the writer {plan.writer} needs --model.")
    if plan.writer == "local" and options.base_url is not None:
        raise UsageError("generate: the writer local has no endpoint. Leave out --base-url, or --writer local.")
    if plan.writer != "local" and options.base_url is None:
        raise UsageError("generate: an endpoint needs --base-url, such as https://host/v1.")


def open_writer(plan: GenerationPlan, options: WriterOptions, form: ReplyForm = DEFAULT_FORM) -> Writer:
    """Create the writer of a plan, constrained to this form of replies. Raises as `check_writer` does."""
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
    inputs: WriterInputs,
    plan: GenerationPlan,
    options: WriterOptions,
    limits: GenerationLimits,
    shards: int | None = None,
) -> tuple[str, WritingEstimate]:
    """Return the prompt of the first seed, and the estimate for the seeds without a result.

    shards: number of shards, to estimate all of them together.
    """
    prompt = inputs.writer_prompt
    first = next(inputs.first(1))
    seeds = (s for n, s in enumerate(inputs.first(plan.limit)) if plan.part is None or plan.part.has(n))
    folders = [plan.folder] if shards is None else [ShardSpec(n, shards).folder(plan.out) for n in range(shards)]
    progress = sum((read_progress(folder / LEDGER) for folder in folders), LedgerProgress())
    return prompt.render(first), estimate_seeds(
        seeds, prompt, limits, progress, longest=options.max_tokens, batched=plan.writer == "batch"
    )


def generate(
    plan: GenerationPlan, inputs: WriterInputs, options: WriterOptions, limits: GenerationLimits, *, show: bool = True
) -> GenerationOutcome:
    """Generate the set with a writer other than the micro world's; see `collect.generate_set`."""
    from .collect import generate_set

    check_writer(plan, options)
    prompt = inputs.writer_prompt
    next(inputs.first(1), None)  # report an unreadable file before a model is loaded
    writer = open_writer(plan, options, prompt.form)
    if plan.writer == "local":  # requests for the next batch accumulate while one is written
        limits = replace(limits, concurrency=2 * limits.concurrency)
    return generate_set(
        inputs.first(plan.limit),
        plan.folder,
        writer,
        prompt=prompt,
        limits=limits,
        shard=plan.part,
        seed=plan.seed,
        checks=plan.checks,
        show=show,
    )


def on_ray(
    plan: GenerationPlan, inputs: WriterInputs, options: WriterOptions, limits: GenerationLimits, number: int
) -> GenerationOutcome:
    """Generate the set in `number` shards on a Ray cluster, or on this machine, and merge them.

    The folder must be visible to all workers. The same call again resumes. Budget and rates are for all shards
    together. Raises UsageError if Ray isn't installed, WorkerError if shards fail.
    """
    whole = replace(plan, out=plan.out.absolute())  # workers may have another working folder
    inputs = WriterInputs(*(path and path.absolute() for path in (inputs.seeds, inputs.prompt)))
    if options.model is not None and Path(options.model).is_dir():
        options = replace(options, model=str(Path(options.model).absolute()))
    shard = partial(_shard, whole, inputs, options, limits.part(number), number)
    outcome = GenerationOutcome.total(map_shards(shard, number))
    if outcome.stopped is None and not outcome.left:
        outcome.report = merge(plan.out, seed=plan.seed, checks=plan.checks, show=False)
        outcome.path = plan.out / TIDEOS
    return outcome


def _shard(
    plan: GenerationPlan,
    inputs: WriterInputs,
    options: WriterOptions,
    limits: GenerationLimits,
    number: int,
    index: int,
) -> dict[str, Any]:
    part = replace(plan, part=ShardSpec(index, number))
    return generate(part, inputs, options, limits, show=False).as_json()


def merge(out: Path, *, seed: int, checks: Checks | None, show: bool = True) -> CleaningReport:
    """Merge the finished shards in a folder into one set; see `topa.tideos.shards`."""
    return shards.merge(out, seed=seed, checks=checks, show=show)
