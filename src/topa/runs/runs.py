"""The verb `runs`: training runs as a table, and on request as plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from ..core.command import command, command_line
from ..core.printable import Note, Printout
from .read import Run, find_runs
from .table import ordered, run_as_json, table
from .verbs import RunsConfig


def runs(config: RunsConfig) -> Printout[list[Run]]:
    """Read runs, and write the report on them where `config.out` names a folder.

    Raises what `find_runs`, `ordered` and `report.write_report` raise.
    """
    sorted_runs = ordered(find_runs(config.folders), config.sort)
    page = None
    if config.out is not None:
        from .report import write_report

        page = write_report(
            sorted_runs, config.out, command() or command_line("runs", *config.folders, "--out", config.out)
        )
    return Printout(
        sorted_runs, _text(sorted_runs, page), {"runs": [run_as_json(run) for run in sorted_runs], "report": page}
    )


def _text(runs_in_order: list[Run], page: Path | None) -> Iterator[str | Note]:
    """The table: as wide as the terminal, or with a run a line, however long, where there is none."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    grid, lines = table(runs_in_order, console.width)
    with console.capture() as captured:
        console.print(grid)
    yield captured.get().removesuffix("\n")
    yield from lines
    for run in runs_in_order:
        yield from (Note(f"note: {remark}") for remark in run.notes)
    if page is not None:
        yield f"report: {page}"
