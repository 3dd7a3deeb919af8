"""The report as tables of text: for the terminal and for the README.

Reads a `DemoReport`; prints conditions x (all questions with the interval, each kind), in per cent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from .wording import METHOD, NONE, interval, kinds_of, label, percent

if TYPE_CHECKING:
    from .report import Condition, DemoReport

_LONGEST = 6  # letters of a word in a heading of the terminal: ten kinds fit 120 columns


def table(report: DemoReport) -> Table:
    """Accuracies for the terminal, at most 120 columns wide for ten kinds of question."""
    kinds = kinds_of(report.conditions)
    caption = "per cent right; 95 % interval over videos"
    result = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False, collapse_padding=True)
    result.add_column("condition", no_wrap=True)
    result.add_column("all", justify="right", no_wrap=True)
    for kind in kinds:
        result.add_column(Text(_heading(kind)), justify="right", no_wrap=True)
    for condition in report.conditions:
        every = Text(percent(condition.accuracy.value), "bold").append(
            f" {interval(condition.accuracy)}", "not bold dim"
        )
        cells = [Text(value) for value in _by_kind(condition, kinds)]
        result.add_row(Text(condition.name), every, *cells, style="green" if condition.name == METHOD else "")
    return result


def markdown_table(report: DemoReport) -> str:
    """Accuracies as a table in Markdown, the method in bold type."""
    kinds = kinds_of(report.conditions)
    headings = ["condition", "all", *(label(kind) for kind in kinds)]
    lines = [markdown_line(headings), markdown_line(["---", *["---:"] * (len(headings) - 1)])]
    for condition in report.conditions:
        every = f"{percent(condition.accuracy.value)} ({interval(condition.accuracy)})"
        cells = [label(condition.name), every, *_by_kind(condition, kinds)]
        lines.append(markdown_line([f"**{cell}**" for cell in cells] if condition.name == METHOD else cells))
    return "\n".join(lines) + "\n"


def _by_kind(condition: Condition, kinds: list[str]) -> list[str]:
    return [percent(condition.kinds[kind].value) if kind in condition.kinds else NONE for kind in kinds]


def _heading(kind: str) -> str:
    return "\n".join(word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "." for word in kind.split("_"))


def markdown_line(cells: Iterable[str]) -> str:
    """A row of a table in Markdown; bars and newlines in cells can't end one."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
