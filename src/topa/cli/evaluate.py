"""Verbs that measure: evaluate, compare, reproduce."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.command import typed
from ..core.errors import UsageError
from ..core.failures import all_failed
from ..core.verbosity import hint, note
from .app import Json, app
from .completion import any_of, benchmarks

_TABLE = 112  # columns that the report's table needs


@app.command(
    epilog="Example:  topa evaluate microworld --baselines --out micro-evaluation\n\n"
    "          topa evaluate nextqa --data NExT-QA --model topa-7b --out nextqa-7b"
)
def evaluate(
    benchmark: Annotated[
        str | None, typer.Argument(help="Its name; --list shows all.", metavar="BENCHMARK", autocompletion=benchmarks)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for predictions and report.")] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of the published files and videos. The micro world has its own."),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option("--videos", help="own: the folder that the videos' paths start from. Default: the data's."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Default: the one that papers report.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="An aligned model: a folder, or on the hub org/name or org/name@revision. Default: the micro model.",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            autocompletion=any_of("selection", "logits", "similarity"),
            help="How options are compared: selection (letters), logits (their text) or similarity (the one nearest to "
            "a generated answer). Default: the model's own.",
        ),
    ] = None,
    permutations: Annotated[
        bool, typer.Option("--permutations", help="With selection: list options in every cyclic order, and average.")
    ] = False,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Also what a score must beat: blind, shuffled frames, a single frame, no projection."
        ),
    ] = False,
    frames: Annotated[
        int | None, typer.Option("--frames", help="Frames of each video. Default: as many as the model reads.")
    ] = None,
    subtitles: Annotated[
        bool, typer.Option("--subtitles", help="Read what is said, where there are subtitles.")
    ] = False,
    features: Annotated[
        Path | None,
        typer.Option("--features", help="Features that are there, or go there; or released ones: .pth, or .npy files."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only so many records, drawn by the seed.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Of a generated answer at most. Default: 40, captions 80.")
    ] = None,
    require_all: Annotated[bool, typer.Option("--require-all", help="A missing video is an error.")] = False,
    coco: Annotated[
        bool, typer.Option("--coco", help="The classic toolkit's words, METEOR and SPICE too; needs Java.")
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that decode videos.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Processes that answer, one for each GPU; each takes its share.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of intervals, of shown examples, and of --limit.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the benchmarks, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on a benchmark: every published record, with intervals, baselines and a report."""
    from ..evals.catalogue import BENCHMARKS

    if listed:
        _list(as_json)
        return
    if benchmark is None or out is None:
        missing = "BENCHMARK" if benchmark is None else "--out DIR"
        raise UsageError(
            f"evaluate: found no {missing}; expected: topa evaluate BENCHMARK --out DIR. --list shows all."
        )
    BENCHMARKS.load(benchmark)  # an unknown name is answered before torch is loaded
    from ..core.processes import is_first, launch, started_by_launcher
    from ..core.protocols import check_protocol

    if processes is not None and processes > 1 and not started_by_launcher() and not dry_run:
        launch(processes, sys.argv[1:])
    from ..evals.evaluate import Evaluation, plan
    from ..evals.evaluate import evaluate as run

    given: dict[str, Any] = {} if workers is None else {"workers": workers}
    by = None if protocol is None else check_protocol(protocol)
    asked = Evaluation(
        benchmark, out, data, videos, split, model, by, permutations, frames, max_tokens, baselines, subtitles,
        features, limit, require_all, coco=coco, seed=seed, **given,
    )  # fmt: skip
    if dry_run:
        _say_plan(plan(asked).as_json(), as_json)
        return
    if model is None and is_first() and not benchmark.startswith("microworld"):
        note("the micro model knows only the micro world; give --model DIR for real videos")
    found = run(asked)
    if found is None:
        return
    if as_json:
        typer.echo(found.report.model_dump_json(indent=1, exclude={"samples"}))
        if found.failure is not None:
            raise found.failure
        return
    from rich.console import Console

    from ..evals.tables import report_table

    console = Console()
    console.width = max(console.width, _TABLE)
    console.print(report_table(found.report))
    typer.echo(f"predictions: {out / 'predictions.jsonl'}")
    if found.submission is not None:
        typer.echo(f"submission:  {found.submission} (not posted anywhere)")
    typer.echo(f"report:      {found.page}")
    if found.failure is not None:
        raise found.failure
    hint(f"next:        {typed('compare', out, 'OTHER')}")


@app.command(epilog="Example:  topa compare nextqa-7b nextqa-13b --out nextqa-compared")
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of an evaluation.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another one of the same records.", metavar="B")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write comparison.json and comparison.md into this folder.")
    ] = None,
    flips: Annotated[
        int, typer.Option("--flips", min=0, help="Show so many records that only one of both answered right.")
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", help="Of intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Say whether one of two evaluations is better, and which answers differ."""
    from ..core.artifacts import output_folder, write_atomically
    from ..evals.compare import compare as compared
    from ..evals.compare_tables import comparison_markdown, comparison_table

    if out is not None:
        output_folder(out, "comparison.json", "comparison.md")
    found = compared(a, b, seed=seed)
    if out is not None:
        write_atomically(out / "comparison.json", found.model_dump_json(indent=1) + "\n")
        write_atomically(out / "comparison.md", comparison_markdown(found))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    from rich.console import Console

    console = Console()
    console.width = max(console.width, _TABLE)
    console.print(comparison_table(found, flips))
    if out is not None:
        typer.echo(f"comparison: {out / 'comparison.md'}")


def _list(as_json: bool) -> None:
    from ..evals.catalogue import BENCHMARKS

    found = [BENCHMARKS.load(name) for name in BENCHMARKS]
    if as_json:
        told = [
            {"name": b.name, "title": b.title, "task": b.task, "splits": dict(b.splits), "metric": b.metric}
            for b in found
        ]
        typer.echo(json.dumps(told))
        return
    for b in found:
        splits = ", ".join(name if number is None else f"{name} {number:,}" for name, number in b.splits.items())
        typer.echo(f"{b.name:<20} {b.task:<8} {b.title}: {splits}")


def _say_plan(planned: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(planned))
        return
    typer.echo(
        f"records: {planned['records']:,} about {planned['clips']:,} clips; the answers of {planned['hidden']:,} are "
        "hidden"
    )
    missing = planned["missing"]
    shown = f": {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}" if missing else ""
    typer.echo(f"videos:  {planned['to_encode']:,} clips to decode and encode, {len(missing):,} missing{shown}")
    typer.echo(f"answers: {planned['answers']:,}")
    typer.echo(f"memory:  {planned['bytes'] / 1e9:.1f} GB of weights a process in float32, half on a GPU")


@app.command(
    epilog="Example:  topa reproduce microworld --out micro-tables\n\n"
    "          topa reproduce paper --data benchmarks --models models --out paper-tables"
)
def reproduce(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe that comes with topa (paper, microworld), or a TOML file.",
            autocompletion=any_of("paper", "microworld"),
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for evaluations and tables.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with a folder for each benchmark, named as topa names it.")
    ] = None,
    models: Annotated[Path | None, typer.Option("--models", help="Folder with a folder for each saved model.")] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only this table; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Records of each evaluation, for a first look.")] = None,
    as_json: Json = False,
) -> None:
    """The numbers of a source's tables beside ours; "no data" or "no model" where something isn't at hand."""
    from ..evals.reproduce import RESULT, TABLE, cells
    from ..evals.reproduce import reproduce as run

    found = run(recipe, out, data=data, models=models, tables=table or (), limit=limit)
    failures = [(one.row.name, one.why) for one in found if one.verdict == "failed"]
    failure = None
    if failures and len(failures) == len(found):
        failure = all_failed("reproduce", "rows", failures, f"{out / TABLE} has them all.")
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found]))
        if failure is not None:
            raise failure
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.width = max(console.width, _TABLE)
    for name in dict.fromkeys(one.row.table for one in found):
        shown = Table("", "expected", "ours", "95 %", "", title=name, title_justify="left", box=None, pad_edge=False)
        for one in found:
            if one.row.table == name:
                shown.add_row(*cells(one))
        console.print(shown)
    for why in dict.fromkeys(f"{one.verdict}: {one.why}" for one in found if one.why):
        typer.echo(why)
    typer.echo(f"tables: {out / TABLE}, {out / RESULT}")
    if failure is not None:
        raise failure
