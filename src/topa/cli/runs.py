"""The verb that looks at training runs: runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..core.command import command, command_line
from ..core.verbosity import note
from .app import Json, app


@app.command(epilog="Example:  topa runs my-runs --sort lr --out runs-report")
def runs(
    folders: Annotated[list[Path], typer.Argument(help="Runs, or folders above them.", metavar="DIR")],
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            help="accuracy, loss or rouge_l (the best held-out ones), train_loss, step, seconds, tokens_per_second, "
            "started, name, or a setting.",
        ),
    ] = "accuracy",
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write report.html and its plots as PNG into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List training runs with their best numbers and what differs between them; with --out, plot them."""
    from ..runs.read import find_runs
    from ..runs.table import ordered, run_as_json, table

    found = ordered(find_runs(folders), sort)
    page = None
    if out is not None:
        from ..runs.report import write_report

        page = write_report(found, out, command() or command_line("runs", *folders, "--out", out))
    if as_json:
        typer.echo(
            json.dumps({"runs": [run_as_json(run) for run in found], "report": None if page is None else str(page)})
        )
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a run is a line, however long
    drawn, lines = table(found, console.width)
    console.print(drawn)
    for line in lines:
        typer.echo(line)
    for remark in [remark for run in found for remark in run.notes]:
        note(f"note: {remark}")
    if page is not None:
        typer.echo(f"report: {page}")
