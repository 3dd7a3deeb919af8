"""Generate a set of Tideos from seeds with a writer: rate-limited, within a budget, resumable at any time.

Everything paid for is in the ledger. Stopping, by Ctrl-C, by the budget or by `kill -9`, loses only the calls in
flight; the same command resumes.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from ..core.artifacts import MANIFEST, output_folder, remove
from ..core.errors import OutputError, TopaError
from ..core.locks import hold
from .assemble import FILES, TIDEOS, assemble
from .batch import BatchRun
from .batch_endpoint import BatchEndpoint
from .flow import GenerationLimits, GenerationOutcome, OnlineRun, try_read_reply
from .ledger import FILES as LEDGER_FILES
from .ledger import LEDGER, Ledger, call_key
from .prompt_file import DEFAULT_FORM, ReplyForm
from .quality import Checks, CleaningReport
from .rejections import WINDOW, Rejections, count_rejections
from .seeds import Seed
from .shards import ShardSpec
from .tideo import Tideo
from .writer_prompt import WriterPrompt
from .writers import Writer


def generate_set(
    seeds: Iterable[Seed],
    out: Path,
    writer: Writer,
    *,
    prompt: WriterPrompt | None = None,
    limits: GenerationLimits | None = None,
    shard: ShardSpec | None = None,
    seed: int = 0,
    checks: Checks | None = None,
    show: bool = True,
) -> GenerationOutcome:
    """Have a Tideo written for every seed. The same call again resumes.

    `out` gets `ledger.sqlite` and the files of `assemble`, including the manifest once all seeds are finished.
    shard: use only every n-th seed. seed, checks: for `assemble`; changing them needs no new requests.

    Raises UsageError for a wrong request, InputError for seeds with equal ids, ArtifactMismatch for a ledger of another
    configuration, OutputError if the disk is full, Permanent if no request can succeed, Transient if the endpoint can't
    be reached.
    """
    prompt, limits, checks = prompt or WriterPrompt(), limits or GenerationLimits(), checks or Checks()
    output_folder(out, *FILES, *LEDGER_FILES)
    parameters = {**writer.parameters, **prompt.declaration}
    configuration = {"model": writer.model, "prompt": prompt.identity, **prompt.declaration, **writer.parameters}
    if shard is not None:
        configuration["shard"] = str(shard)
    with _frozen_heap(), Ledger(out / LEDGER, configuration) as ledger:
        remove(out / MANIFEST)
        # Prompts are rendered again when they are sent: those of all seeds would take gigabytes.
        number = ledger.plan(
            (call_key(prompt.render(s), writer.model, parameters, s.id), position, s)
            for position, s in enumerate(seeds)
            if shard is None or shard.has(position)
        )

        def finish(complete: bool) -> CleaningReport:
            with _export_lock(out):
                return assemble(
                    (Tideo.model_validate_json(line) for _, line in ledger.results()),
                    out,
                    seed=seed,
                    checks=checks,
                    refused=ledger.errors(),
                    cost=asdict(ledger.total_usage()),
                    kinds=dict(prompt.form.kinds) if prompt.form != DEFAULT_FORM else None,
                    config={**configuration, "seeds": number},
                    complete=complete,
                    total=ledger.counts().get("accepted", 0),
                    show=show,
                )

        outcome = _run_writer(writer, ledger, prompt, limits, checks, finish, show=show)
        _count(outcome, ledger, number, prompt.form)
        outcome.report = finish(not outcome.left and not outcome.elsewhere)
        outcome.path = out / TIDEOS
        return outcome


def _count(outcome: GenerationOutcome, ledger: Ledger, seeds: int, form: ReplyForm) -> None:
    """Fill in the counts of the ledger."""
    counts = ledger.counts()
    outcome.seeds, outcome.spent, outcome.elsewhere = seeds, ledger.total_usage(), ledger.count_elsewhere()
    outcome.accepted, outcome.rejected, outcome.failed, outcome.submitted = (
        counts.get(state, 0) for state in ("accepted", "rejected", "failed", "submitted")
    )
    outcome.left = seeds - outcome.accepted - outcome.rejected - outcome.failed - outcome.elsewhere
    outcome.refused = ledger.errors()
    if outcome.stopped == "rejections":
        outcome.rejections = _rejections(ledger, form)


def _run_writer(
    writer: Writer,
    ledger: Ledger,
    prompt: WriterPrompt,
    limits: GenerationLimits,
    checks: Checks,
    finish: Callable[[bool], CleaningReport],
    *,
    show: bool,
) -> GenerationOutcome:
    async def run() -> GenerationOutcome:
        async with writer:
            if isinstance(writer, BatchEndpoint):
                return await BatchRun(writer, ledger, prompt, limits, checks).run(show=show)
            return await OnlineRun(writer, ledger, prompt, limits, checks).run(show=show)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except TopaError:
        # Assemble what was written before; a second error would only hide this one.
        with suppress(TopaError):
            finish(False)
        raise


def _rejections(ledger: Ledger, form: ReplyForm) -> Rejections:
    """Return why the run stopped, with an example."""
    rejections = count_rejections(ledger.verdicts(WINDOW))
    commonest = next(iter(rejections.reasons), "")
    example = ledger.example(commonest)
    if example is None:
        return rejections
    seed, reply = example
    return replace(rejections, seed=seed, problem=try_read_reply(reply, form)[1] or commonest)


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Exempt existing objects from garbage collection, which would take a tenth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _export_lock(out: Path) -> Iterator[None]:
    """Let one process at a time assemble the set, so that none replaces a newer one."""
    try:
        with hold(out / f"{LEDGER}.export", wait=True):
            yield
    except OutputError as error:
        raise OutputError(f"{error} All replies are kept in {out / LEDGER}.") from error
    except OSError as error:
        raise OutputError(
            f"{out}: can't be written ({error.strerror}). All replies are kept in {LEDGER}: free some space, then run "
            "the same command again."
        ) from error
