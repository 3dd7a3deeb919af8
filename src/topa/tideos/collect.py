"""Seeds to a set of Tideos by way of a writer: paced, within a budget, and resumable at any moment.

All that was paid for is in the ledger. Stopping, by Ctrl-C, by the budget or by `kill -9`, costs nothing but the calls
that were in flight; the same command goes on.
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


def generate(
    seeds: Iterable[Seed],
    out: Path,
    writer: Writer,
    *,
    asking: WriterPrompt | None = None,
    limits: GenerationLimits | None = None,
    shard: ShardSpec | None = None,
    seed: int = 0,
    checks: Checks | None = None,
    show: bool = True,
) -> GenerationOutcome:
    """Have a Tideo written for every seed; the same call again goes on where this one stopped.

    `out` gets `ledger.sqlite` and what `assemble` writes, its manifest when no seed is left. `shard`: of the seeds
    only every n-th. `seed`, `checks`: for `assemble`; they may change from run to run, nothing is asked again.

    Raises UsageError for a wrong request, InputError for seeds of one id, ArtifactMismatch for a ledger of another
    configuration, OutputError where the disk is full, Permanent where no request can succeed, Transient where the
    endpoint can't be reached at all.
    """
    asking, limits = asking or WriterPrompt(), limits or GenerationLimits()
    checks = checks or Checks()
    output_folder(out, *FILES, *LEDGER_FILES)
    configuration = {"model": writer.model, "prompt": asking.identity, **asking.declaration, **writer.parameters}
    if shard is not None:
        configuration["shard"] = str(shard)
    parameters = {**writer.parameters, **asking.declaration}
    with _settled(), Ledger(out / LEDGER, configuration) as ledger:
        remove(out / MANIFEST)
        # A seed's prompt is made again when it is asked: those of all seeds together take gigabytes.
        number = ledger.plan(
            (call_key(asking.prompt(s), writer.model, parameters, s.id), position, s)
            for position, s in enumerate(seeds)
            if shard is None or shard.has(position)
        )

        def finish(done: bool) -> CleaningReport:
            with _alone(out):
                return assemble(
                    (Tideo.model_validate_json(line) for _, line in ledger.results()),
                    out,
                    seed=seed,
                    checks=checks,
                    refused=ledger.errors(),
                    cost=asdict(ledger.spent()),
                    kinds=dict(asking.form.kinds) if asking.form != DEFAULT_FORM else None,
                    config={**configuration, "seeds": number},
                    done=done,
                    total=ledger.counts().get("accepted", 0),
                    show=show,
                )

        outcome = _written(writer, ledger, asking, limits, checks, finish, show=show)
        counts = ledger.counts()
        outcome.seeds, outcome.spent, outcome.elsewhere = number, ledger.spent(), ledger.held_elsewhere()
        outcome.accepted, outcome.rejected, outcome.failed = (
            counts.get(state, 0) for state in ("accepted", "rejected", "failed")
        )
        outcome.refused = ledger.errors()
        if outcome.stopped == "rejections":
            outcome.rejections = _rejections(ledger, asking.form)
        outcome.submitted = counts.get("submitted", 0)
        outcome.left = number - outcome.accepted - outcome.rejected - outcome.failed - outcome.elsewhere
        outcome.report = finish(not outcome.left and not outcome.elsewhere)
        outcome.path = out / TIDEOS
        return outcome


def _written(
    writer: Writer,
    ledger: Ledger,
    asking: WriterPrompt,
    limits: GenerationLimits,
    checks: Checks,
    finish: Callable[[bool], CleaningReport],
    *,
    show: bool,
) -> GenerationOutcome:
    async def run() -> GenerationOutcome:
        async with writer:
            if isinstance(writer, BatchEndpoint):
                return await BatchRun(writer, ledger, asking, limits, checks).run(show=show)
            return await OnlineRun(writer, ledger, asking, limits, checks).run(show=show)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except TopaError:
        # What was written before can be used; that it can't even be put together is no news after this error.
        with suppress(TopaError):
            finish(False)
        raise


def _rejections(ledger: Ledger, form: ReplyForm) -> Rejections:
    """Why the run stopped, with an example."""
    rejections = count_rejections(ledger.verdicts(WINDOW))
    commonest = next(iter(rejections.reasons), "")
    example = ledger.example(commonest)
    if example is None:
        return rejections
    seed, reply = example
    return replace(rejections, seed=seed, problem=try_read_reply(reply, form)[1] or commonest)


@contextmanager
def _settled() -> Iterator[None]:
    """What is loaded by now stays: to look through it again and again takes the collector a tenth of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One process at a time: of two, the later one sees all that the earlier one saw, and replaces nothing newer."""
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
