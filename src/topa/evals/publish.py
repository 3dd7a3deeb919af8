"""A report as files: `report.json` for programs, `report.html` for people.

Reads a `DemoReport` or an `EvaluationReport`; the pages themselves are made by `page` and `evaluation_page`.
"""

from __future__ import annotations

from pathlib import Path

from ..core.artifacts import output_folder, write_atomically
from .evaluation import EvaluationReport
from .evaluation_page import evaluation_page
from .page import page
from .report import DemoReport, Part

FILES = ("report.json", "report.html")
"""What a report is written as."""


def write_report(report: DemoReport, out: Path) -> Path:
    """Write `report.json` and `report.html` into the folder `out`; gives the path of the page.

    The page is one file and asks no network for anything; videos are played from where they lie, below `out`.
    Raises InputError where a picture named by the report is not there.
    """
    folder = output_folder(out, *FILES)
    return _write(report, page(report, folder), folder)


def write_evaluation(report: EvaluationReport, out: Path) -> Path:
    """Write `report.json` and `report.html` into the folder `out`; gives the path of the page.

    The page is one file and asks no network for anything. Raises InputError where a picture named by the report is not
    there, OutputError where `out` can't be written.
    """
    folder = output_folder(out, *FILES)
    return _write(report, evaluation_page(report, folder), folder)


def _write(report: Part, html: str, folder: Path) -> Path:
    write_atomically(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    write_atomically(folder / "report.html", html)
    return folder / "report.html"
