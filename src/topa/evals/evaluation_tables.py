"""The report of an evaluation as tables of text: for the terminal, and in Markdown.

Scores with their denominators, the conditions with what the model is ahead of each, the parts of each partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .evaluation import MODEL
from .tables import markdown_line
from .wording import NONE, interval, label, measured, percent, points, verdict

if TYPE_CHECKING:
    from .evaluation import EvaluationReport


@dataclass(frozen=True, slots=True)
class _Lines:
    """A table: its headings, the first column to the left, and its rows. first: whether the first row stands out."""

    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    first: bool = False


def evaluation_table(report: EvaluationReport) -> RenderableType:
    """The numbers for the terminal, at most 80 columns wide where names are short."""
    parts: list[RenderableType] = [Text(report.title, "bold"), Text(denominators(report), "dim")]
    for lines in _tables(report):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for place, heading in enumerate(lines.headings):
            table.add_column(Text(heading), justify="right" if place else "left", overflow="fold")
        for place, row in enumerate(lines.rows):
            table.add_row(*(Text(cell) for cell in row), style="green" if lines.first and not place else "")
        parts.append(table)
    parts += [Text(note, "dim") for note in report.notes]
    return Group(*parts)


def evaluation_markdown(report: EvaluationReport) -> str:
    """The same tables in Markdown, the model in bold type."""
    parts = [f"**{' '.join(report.title.split())}**: {denominators(report)}\n"]
    for lines in _tables(report):
        shown = [markdown_line(lines.headings), markdown_line(["---", *["---:"] * (len(lines.headings) - 1)])]
        for place, row in enumerate(lines.rows):
            bold = lines.first and not place
            shown.append(markdown_line(f"**{cell}**" if bold and cell else cell for cell in row))
        parts.append("\n".join(shown) + "\n")
    return "\n".join(parts)


def denominators(report: EvaluationReport) -> str:
    """What the numbers are of: "4,996 published records, 12 without an answer (wrong), 0 hidden"."""
    counts = report.counts
    told = f"{counts.published:,} published records, {counts.unanswered:,} without an answer (wrong)"
    return told + (f", {counts.hidden:,} hidden (in no number)" if counts.hidden else "")


def _tables(report: EvaluationReport) -> Iterator[_Lines]:
    rows: list[tuple[str, ...]] = []
    for score in report.scores:
        found = score.estimate
        if found is None:
            rows.append((score.name, score.note or NONE, NONE, NONE, NONE))
        else:
            value = measured(score.name, found.value)
            rows.append((score.name, value, interval(found), f"{found.questions:,}", f"{found.groups:,}"))
    yield _Lines(("score", "value", "95 % interval", "records", "videos"), rows, first=True)
    if report.conditions:
        ahead = {difference.name: difference.estimate for difference in report.differences}
        rows = []
        for condition in report.conditions:
            cells = (label(condition.name), percent(condition.accuracy.value), interval(condition.accuracy))
            gain = ahead.get(f"{MODEL} - {condition.name}")
            more = ("", "", "")
            if gain is not None:
                more = (points(gain.value), f"{points(gain.low)} to {points(gain.high)}", verdict(gain))
            rows.append((*cells, *more))
        yield _Lines(("condition", "% right", "95 % interval", "ahead by", "95 % interval", ""), rows, first=True)
    chance = next((condition.kinds for condition in report.conditions if condition.name == "chance"), {})
    for name, parts in report.breakdowns.items():
        shown = chance if name == "type" else {}
        rows = []
        for part, found in parts.items():
            row = (label(part), percent(found.value), interval(found), f"{found.questions:,}")
            rows.append((*row, percent(shown[part].value) if part in shown else NONE) if shown else row)
        headings = (label(name), "% right", "95 % interval", "questions")
        yield _Lines((*headings, "chance") if shown else headings, rows)
