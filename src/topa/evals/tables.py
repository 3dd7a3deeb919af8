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

from .formatting import NONE, interval, label, markdown_line, measured, percent, points, verdict
from .report import MODEL

if TYPE_CHECKING:
    from .report import EvaluationReport


@dataclass(frozen=True, slots=True)
class _Lines:
    """A table: its headings, the first column to the left, and its rows. first: whether the first row stands out."""

    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    first: bool = False


def report_table(report: EvaluationReport) -> RenderableType:
    """Return the numbers for the terminal, at most 80 columns wide where names are short."""
    parts: list[RenderableType] = [Text(report.title, "bold"), Text(denominators(report), "dim")]
    for lines in _tables(report, all_conditions=False):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for place, heading in enumerate(lines.headings):
            table.add_column(Text(heading), justify="right" if place else "left", overflow="fold")
        for place, row in enumerate(lines.rows):
            table.add_row(*(Text(cell) for cell in row), style="green" if lines.first and not place else "")
        parts.append(table)
    parts += [Text(note, "dim") for note in report.notes]
    return Group(*parts)


def report_markdown(report: EvaluationReport) -> str:
    """Return the same tables in Markdown, the model in bold type; those of types for all conditions."""
    parts = [f"**{' '.join(report.title.split())}**: {denominators(report)}\n"]
    for lines in _tables(report, all_conditions=True):
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


def _tables(report: EvaluationReport, *, all_conditions: bool) -> Iterator[_Lines]:
    """All tables. all_conditions: those of the types have a column for each condition, not for chance alone."""
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
        ahead = {difference.name: difference.estimate for difference in report.differences if not difference.kinds}
        rows = []
        for condition in report.conditions:
            cells = (label(condition.name), percent(condition.accuracy.value), interval(condition.accuracy))
            gain = ahead.get(f"{MODEL} - {condition.name}")
            more = ("", "", "")
            if gain is not None:
                more = (points(gain.value), f"{points(gain.low)} to {points(gain.high)}", verdict(gain))
            rows.append((*cells, *more))
        yield _Lines(("condition", "% right", "95 % interval", "ahead by", "95 % interval", ""), rows, first=True)
    for name, parts in report.breakdowns.items():
        shown = [c for c in report.conditions[1:] if c.kinds and (all_conditions or c.name == "chance")]
        if name != "type":
            shown = []
        rows = []
        for part, found in parts.items():
            others = (percent(c.kinds[part].value) if part in c.kinds else NONE for c in shown)
            rows.append((label(part), percent(found.value), interval(found), f"{found.questions:,}", *others))
        headings = (label(name), "% right", "95 % interval", "questions")
        yield _Lines((*headings, *(label(condition.name) for condition in shown)), rows)
