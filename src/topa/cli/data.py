"""Verbs that make sets of Tideos: seeds, generate, clean, card, export."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.command import command_line, typed
from ..core.verbosity import hint, note
from .app import STOPPED, Json, app
from .completion import any_of

if TYPE_CHECKING:
    from ..tideos.estimate import WritingEstimate
    from ..tideos.flow import GenerationLimits, GenerationOutcome
    from ..tideos.quality import CleaningReport
    from ..tideos.rejections import Rejections
    from ..tideos.shards import ShardSpec
    from ..tideos.writers import TokenUsage

Near = Annotated[float, typer.Option("--near", help="Overlap of near duplicates; 1: exact ones only.", min=0.01, max=1)]


@app.command(
    epilog="Example:  topa seeds --kind text mine.txt wordnet=data.noun:2 webvid=a.csv --count 1000 --out seeds.jsonl"
)
def seeds(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="path, kind=path or kind=path:weight. Kinds: howto100m, webvid, ego4d, wordnet, text (a seed a line), "
            "csv, jsonl. Weights are shares of --count, 1 each by default.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File of the seeds, JSON Lines.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="The kind of all sources without kind=.",
            autocompletion=any_of("howto100m", "webvid", "ego4d", "wordnet", "text", "csv", "jsonl"),
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", help="How many seeds to draw. Default: one of every text.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    column: Annotated[
        str | None, typer.Option("--column", help="The column with the text, for the kind csv. Default: text.")
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="The field with the text, for the kind jsonl. Default: text.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the short texts that Tideos are written of: from public data sets' captions, nouns, and your own lists."""
    from ..tideos.seeds import SeedSource, check_output, sample, write_seeds

    wanted = [SeedSource.parse(spec, kind) for spec in sources]
    check_output(out, wanted)
    drawn, tallies = sample(wanted, count, seed=seed, column=column, field=field)
    write_seeds(out, drawn)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "written": len(drawn), "sources": [asdict(t) for t in tallies]}))
        return
    for tally in tallies:
        empty = f", {tally.empty:,} without a text" if tally.empty else ""
        typer.echo(
            f"{tally.source}: {tally.read:,} read{empty}, {tally.written:,} written "
            f"({tally.duplicates:,} duplicates of drawn texts dropped)"
        )
    typer.echo(f"seeds: {out} ({len(drawn):,} written)")
    hint(f"next:  {typed('generate', '--seeds', out, '--base-url', 'URL', '--model', 'NAME', '--out', 'tideos')}")


@app.command(
    epilog="Example:  topa generate --seeds seeds.jsonl --base-url http://localhost:8000/v1 --model NAME --out tideos"
)
def generate(
    out: Annotated[Path, typer.Option("--out", help="Folder of the ledger and the Tideos; the same command resumes.")],
    seeds: Annotated[
        Path | None, typer.Option("--seeds", help="JSON Lines of objects with id, kind and text; microworld has none.")
    ] = None,
    writer: Annotated[
        str | None,
        typer.Option(
            "--writer",
            autocompletion=any_of("openai", "batch", "local", "microworld"),
            help="openai (any endpoint that speaks OpenAI's protocol), batch (its batch API, at half the price), local "
            "(a Hugging Face model in this process) or microworld (procedural). Default: openai with --base-url, "
            "else microworld.",
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Of the endpoint, such as https://host/v1.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The writer's name at the endpoint; for local, a folder or hub id.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Of the seeds only the first ones. microworld: how many.", min=1)
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: every n-th seed from the i-th on, to OUT/shard-i-of-n.")
    ] = None,
    ray: Annotated[
        int | None,
        typer.Option(
            "--ray",
            help="Write so many shards on Ray's workers, then merge them.",
            min=1,
        ),
    ] = None,
    near: Annotated[
        float | None,
        typer.Option(
            "--near",
            help="Overlap of near duplicates; 1: exact ones only. Default: 0.8; microworld: 1.",
            min=0.01,
            max=1,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all that is drawn.")] = 0,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Stop before this is exceeded, over all runs: money with prices, else tokens. Without one, an "
            "estimate is shown and you are asked, for writers that may cost something.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Without a --budget: go on without being asked, whatever it takes.")
    ] = False,
    accept_rejections: Annotated[
        bool,
        typer.Option(
            "--accept-rejections",
            help="Go on although nearly all replies (9 of 10, of the first 20 or the latest 100) can't be used.",
        ),
    ] = False,
    price_in: Annotated[
        float, typer.Option("--price-in", help="Price of a million tokens read; batch counts half of it.", min=0)
    ] = 0.0,
    price_out: Annotated[
        float, typer.Option("--price-out", help="Price of a million tokens written; batch counts half of it.", min=0)
    ] = 0.0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="Requests at a time; for local, the largest batch.", min=1)
    ] = 8,
    rpm: Annotated[float | None, typer.Option("--rpm", help="Requests per minute. Default: no limit.")] = None,
    tpm: Annotated[float | None, typer.Option("--tpm", help="Tokens per minute. Default: no limit.")] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(
            "--prompt",
            help="Your own prompt: a text with {seed} where the seed goes. Own kinds of questions are declared at its "
            'top, as TOML between two lines +++: kinds = ["hazard", "rule"], or a table [kinds] with a line such as '
            'hazard = "what could hurt somebody" for each, which the data card repeats; and options = 4, if not 5.',
        ),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", help="Variable that holds the key. Default: OPENAI_API_KEY, may be unset."),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longest reply, in tokens.", min=1)] = 8192,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of sampling. Default: the writer's own.", min=0)
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for one request.", min=0.001)] = 300.0,
    poll: Annotated[
        float,
        typer.Option(
            "--poll",
            help="batch: seconds between looks at the batches. Ctrl-C leaves them to the provider; the same command "
            "collects them.",
            min=0.01,
        ),
    ] = 60.0,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with what is in OUT, or refuse to.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: print the prompt of the first seed and an estimate.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Have a Tideo written for every seed: paced, within a budget, resumable; then cleaned, balanced and described."""
    from ..tideos import generate as writing
    from ..tideos.flow import GenerationLimits
    from ..tideos.shards import ShardSpec

    plan = writing.GenerationPlan(
        out,
        writing.name_of(writer, base_url),
        part=None if shard is None else ShardSpec.parse(shard),
        limit=limit,
        seed=seed,
        near=near,
        resume=resume,
    )
    if plan.writer == "microworld":
        asked = {"--seeds": seeds, "--prompt": prompt, "--model": model, "--ray": ray, "--dry-run": dry_run}
        writing.refuse_for_microworld(asked)
        from ..microworld.generate import write_microworld

        report = write_microworld(plan)
        if as_json:
            typer.echo(report.model_dump_json(indent=1))
        else:
            _say_set(plan.folder, report, plan.part, recipe="microworld", seed=seed)
        return
    limits = GenerationLimits(
        concurrency, rpm, tpm, budget, price_in, price_out, poll=poll, accept_rejections=accept_rejections
    )
    given = writing.WriterInputs(seeds, prompt)
    options = writing.WriterOptions(model, base_url, key_env, max_tokens, temperature, timeout, concurrency)
    if dry_run:
        _say_estimate(*writing.estimate(given, plan, options, limits, ray), limits, as_json)
        return
    if budget is None and not yes and writing.is_paid(plan.writer):
        writing.open_writer(plan, options)  # what is missing is said before anybody is asked
        _confirm(writing.estimate(given, plan, options, limits, ray)[1], limits)
    if ray is None:
        result = writing.generate(plan, given, options, limits)
    else:
        result = writing.on_ray(plan, given, options, limits, ray)
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    else:
        _say_outcome(result, limits)
        if result.report is not None:
            _say_set(plan.folder, result.report, plan.part, seed=seed)
    if result.stopped == "interrupted":
        raise typer.Exit(STOPPED)
    problem = _problem(result, limits)
    if problem:
        typer.echo(f"topa: {problem}", err=True)
        raise typer.Exit(1)


@app.command(epilog="Example:  topa merge tideos")
def merge(
    out: Annotated[Path, typer.Argument(help="The folder with the shards; gets the set.", metavar="OUT")],
    near: Annotated[
        float | None,
        typer.Option("--near", help="Overlap of near duplicates. Default: that of the shards.", min=0.01, max=1),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all that is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Make one set of the finished shards of topa generate --shard."""
    from ..tideos import generate as writing
    from ..tideos.quality import Checks

    report = writing.merge(out, seed=seed, checks=None if near is None else Checks(near=near))
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        _say_set(out, report)


@app.command(epilog="Example:  topa export kitchen.jsonl --format parquet --out kitchen.parquet")
def export(
    tideos: Annotated[Path, typer.Argument(help="Tideos as JSON Lines.", metavar="TIDEOS")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="jsonl, parquet or textvid (the published form).",
            autocompletion=any_of("jsonl", "parquet", "textvid"),
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    as_json: Json = False,
) -> None:
    """Write Tideos in a form that others read."""
    from ..tideos.export import export as write
    from ..tideos.jsonl import read_jsonl

    number = write(read_jsonl(tideos), form, out)
    typer.echo(json.dumps({"tideos": number}) if as_json else f"exported: {out} ({number:,} Tideos)")


@app.command(epilog="Example:  topa clean kitchen.jsonl --out kitchen-clean --seed 3")
def clean(
    tideos: Annotated[Path, typer.Argument(help="Tideos as JSON Lines.", metavar="TIDEOS")],
    out: Annotated[Path, typer.Option("--out", help="Folder for tideos.jsonl and quality.json.")],
    seed: Annotated[int, typer.Option("--seed", help="Seed of the options' order.")] = 0,
    near: Near = 0.8,
    as_json: Json = False,
) -> None:
    """Leave out Tideos that are double or malformed, and balance the places of right answers."""
    from ..tideos.clean import clean_tideos

    report = clean_tideos(tideos, out, seed, near)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        _say_set(out, report)


@app.command(epilog="Example:  topa card kitchen.jsonl --out kitchen-card")
def card(
    tideos: Annotated[Path, typer.Argument(help="Tideos as JSON Lines.", metavar="TIDEOS")],
    out: Annotated[Path, typer.Option("--out", help="Folder for card.md, card.html and card.json.")],
    as_json: Json = False,
) -> None:
    """Describe a set of Tideos: counts, kinds, letters, words, duplicates, and what its questions give away."""
    from ..core.artifacts import output_folder
    from ..tideos.card import FILES, describe, write_card
    from ..tideos.jsonl import read_jsonl

    output_folder(out, *FILES)
    made = describe(read_jsonl(tideos), tideos.stem)
    write_card(made, out)
    typer.echo(made.model_dump_json(indent=1) if as_json else f"card: {out / 'card.html'} ({made.tideos:,} Tideos)")


def _say_estimate(first: str, estimate: WritingEstimate, limits: GenerationLimits, as_json: bool) -> None:
    if as_json:
        more = {"seconds": estimate.seconds, "basis": estimate.basis}
        typer.echo(json.dumps({"prompt": first, "seeds": estimate.seeds, "estimate": asdict(estimate.usage), **more}))
        return
    typer.echo(first)
    typer.echo(_in_words(estimate, limits), err=True)


def _in_words(estimate: WritingEstimate, limits: GenerationLimits) -> str:
    from ..tideos.estimate import SPEED, TYPICAL_REPLY

    usage, minutes = estimate.usage, estimate.seconds / 60
    cost = f", cost about {usage.cost:.2f}" if limits.money else ", cost unknown without --price-in and --price-out"
    basis = (
        f"as {estimate.basis:,} seeds of this folder took on average, repairs included"
        if estimate.basis
        else f"guessed from the length of the prompts and replies of at most {TYPICAL_REPLY:,} tokens, without repairs"
    )
    return (
        f"{estimate.seeds:,} seeds: about {usage.tokens_in:,} tokens read, {usage.tokens_out:,} written{cost} ({basis})"
        f"; about {minutes:,.1f} minutes if the writer gives {SPEED:.0f} tokens a second to each request"
    )


def _confirm(estimate: WritingEstimate, limits: GenerationLimits) -> None:
    """Ask whoever sits at the terminal whether to spend without a budget; where nobody does, refuse to."""
    from ..core.errors import UsageError

    if not estimate.seeds:  # nothing is left to be asked
        return
    words = _in_words(estimate, limits)
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise UsageError(
            f"generate: found no --budget, and nobody at a terminal to ask. {words}. Nothing was sent. Give --budget "
            "with what may be spent (tokens, or money with prices), or --yes to go on without a limit."
        )
    typer.echo(words, err=True)
    typer.echo("No --budget is given, so nothing limits what is spent. Go on? [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        typer.echo("topa: nothing was sent. Give --budget to go on within a limit", err=True)
        raise typer.Exit(1)


def _problem(result: GenerationOutcome, limits: GenerationLimits) -> str | None:
    """Why a run that ended failed all the same; None where it didn't."""
    if result.rejections is not None:
        return _rejections_in_words(result.rejections, result.spent, limits)
    kept = result.report is not None and result.report.kept
    if result.stopped is None and not result.left and not result.elsewhere and result.seeds and not kept:
        refused = sorted(result.refused.items(), key=lambda pair: -pair[1])
        report = result.report
        dropped = [(reason, found["count"]) for reason, found in report.dropped.items()] if report else []
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in [*refused, *dropped])
        return f"no Tideo came of {result.seeds:,} seeds: {reasons}.{_advice(reasons)}"
    return None


def _rejections_in_words(rejections: Rejections, spent: TokenUsage, limits: GenerationLimits) -> str:
    reasons = "".join(f"\n  {count:,} x {reason}" for reason, count in rejections.reasons.items())
    example = f"\nFor example seed {rejections.seed}: {rejections.problem}" if rejections.seed else ""
    money = f"{spent.cost:.4f}, " if limits.money else ""
    again = command_line(*sys.argv[1:], "--accept-rejections")
    return (
        f"stopped, as {rejections.unusable} of the latest {rejections.replies} replies can't be used:{reasons}{example}"
        f"\nPaid for so far: {money}{spent.tokens:,} tokens; all replies are kept.{_advice(*rejections.reasons)} "
        f"To go on all the same:\n  {again}"
    )


def _advice(*reasons: str) -> str:
    from ..tideos.prompt_file import DECLARE
    from ..tideos.writer_prompt import UNKNOWN_KIND

    return f" {DECLARE}" if any(UNKNOWN_KIND in reason for reason in reasons) else ""


def _say_outcome(result: GenerationOutcome, limits: GenerationLimits) -> None:
    spent = f"{result.spent.cost:.4f}, " if limits.money else ""
    typer.echo(
        f"written: {result.accepted} of {result.seeds} (rejected {result.rejected}, failed {result.failed}, "
        f"left {result.left}, in another process {result.elsewhere}; spent {spent}{result.spent.tokens:,} tokens)"
    )
    for kind, count in sorted(result.failures.items()):
        note(f"note: {count} x {kind}")
    if result.stopped == "budget":
        note(
            f"note: the budget is used up: one more reply might take {result.needed:,.6g}. "
            "Run the same command with a larger --budget to go on"
        )
    if result.submitted:
        note(
            f"note: {result.submitted:,} of those left are in batches, on which the provider goes on working. "
            "The same command collects them"
        )


def _say_set(
    folder: Path, report: CleaningReport, part: ShardSpec | None = None, *, recipe: str = "RECIPE", seed: int = 0
) -> None:
    """recipe: that the set is for, where it is known. seed: of the shards, for the command that merges them."""
    for reason, found in report.dropped.items():
        note(f"left out: {found['count']:,}: {reason} (such as {', '.join(found['examples'])})")
    typer.echo(f"kept:    {report.kept:,} of {report.read:,} Tideos in {folder / 'tideos.jsonl'}")
    typer.echo(f"letters: {report.before} before, {report.after} after")
    told = report.leakage
    blind = f"longest option {told.longest:.1%}, most like the question {told.overlap:.1%}, chance {told.chance:.1%}"
    typer.echo(f"blind:   {blind}")
    typer.echo(f"card:    {folder / 'card.html'}")
    if part is not None:
        command = typed("merge", folder.parent, *([] if seed == 0 else ["--seed", seed]))
        hint(f"next:    {command}  # when all {part.of} shards are done")
    elif report.kept:
        tideos = folder / "tideos.jsonl"
        hint(f"next:    {typed('align', '--recipe', recipe, '--tideos', tideos, '--out', 'model')}")
