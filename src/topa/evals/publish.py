"""A report as files: `report.json` for programs, `report.html` for people."""

from __future__ import annotations

from pathlib import Path

from ..core.artifacts import output_folder, write_atomically
from .page import page
from .report import EvaluationReport

FILES = ("report.json", "report.html")
"""What a report is written as."""


def write_report(report: EvaluationReport, out: Path) -> Path:
    """Write `report.json` and `report.html` into the folder `out`; return the path of the page.

    The page is one file and asks no network for anything; videos are played from where they lie, below `out`.
    Raises InputError where a picture named by the report is not there, OutputError where `out` can't be written.
    """
    folder = output_folder(out, *FILES)
    html = page(report, folder)
    write_atomically(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    write_atomically(folder / "report.html", html)
    return folder / "report.html"
