"""The report on runs as one HTML page: no script, no network, light and dark, wide and narrow.

Reads runs and their plots; gives the text of `report.html` to `report.write_report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from ..core import pages
from ..core.formatting import duration, percent
from . import wording
from .plots import Look
from .read import Run, differing
from .table import columns

_NARROW = "(max-width: 46rem)"


@dataclass(frozen=True)
class Picture:
    """A plot in every look, as data URIs."""

    name: str
    heading: str
    looks: Mapping[Look, str]


def page(runs: Sequence[Run], plotted: Sequence[Run], pictures: Iterable[Picture], command: str) -> str:
    """Write the page. runs: all of them, in order; plotted: those in the pictures; command: what made the page."""
    title = f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs compared"
    notes = [note for run in runs for note in run.notes]
    if len(plotted) < len(runs):
        notes.append(f"Drawn are {len(plotted)} of {len(runs)} runs: the first of the table that have a step.")
    sections = {
        "runs": ("All runs", _table(runs) if len(runs) > 1 else ""),
        **{picture.name: (picture.heading, _picture(picture, plotted)) for picture in pictures},
        "settings": ("Settings" if len(runs) == 1 else "Settings of all of them", _settings(runs)),
        "commands": ("Run it again", _commands(runs)),
        "notes": ("Notes", pages.bullets(notes)),
    }
    date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return pages.document(
        title,
        style=pages.resource(__package__, "page.css"),
        header=_headline(runs),
        sections=sections,
        footer=f"Made by <code>{escape(command)}</code> on {date}.",
    )


def _headline(runs: Sequence[Run]) -> str:
    run = runs[0]
    facts = [run.kind, wording.model(run.llm) if run.llm else None, f"{run.state}, step {wording.steps(run)}"]
    if run.started:
        facts.append(f"started {run.started[:16].replace('T', ' ')}")
    lead = " · ".join(fact for fact in facts if fact)
    if len(runs) > 1:
        lead = f"The first one, {run.name}: {lead}"
    cards = []
    for measure, about in (
        ("accuracy", "right answers, held out"),
        ("rouge_l", "ROUGE-L, held out"),
        ("loss", "held-out loss"),
    ):
        best = run.best(measure)
        if best is not None:
            value = wording.decimal(best.value) if measure == "loss" else percent(best.value)
            cards.append((value, about, f"the best, at step {best.step:,}"))
    if run.loss is not None:
        cards.append((wording.decimal(run.loss), "training loss", "mean of the last steps"))
    if run.seconds is not None:
        rate = f"{run.tokens_per_second:,.0f} tokens a second" if run.tokens_per_second else ""
        cards.append((duration(run.seconds), "of training", rate))
    numbers = (("", escape(value), escape(about), escape(more)) for value, about, more in cards)
    return f'<p class="lead">{escape(lead)}</p>\n{pages.cards("Best numbers", numbers)}'


def _table(runs: Sequence[Run]) -> str:
    table_columns, lines = columns(runs)
    head = "".join(f'<th scope="col"{_side(c.right)}>{escape(c.title)}</th>' for c in table_columns)
    rows = "".join(
        "<tr>"
        + f'<th scope="row">{escape(table_columns[0].cells[row])}</th>'
        + "".join(f"<td{_side(c.right)}>{_cell(c.cells[row])}</td>" for c in table_columns[1:])
        + "</tr>\n"
        for row in range(len(runs))
    )
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>"
    return pages.scroller("All runs", table) + pages.bullets(lines)


def _cell(text: str) -> str:
    """Write a cell; the step of a best value stands below it."""
    value, at, step = text.partition(" at ")
    return escape(value) + (f"<small>at {escape(step)}</small>" if at else "")


def _side(right: bool) -> str:
    return ' class="number"' if right else ""


def _picture(picture: Picture, plotted: Sequence[Run]) -> str:
    """Write a picture of which the browser picks the drawing for its paper and width."""
    looks = picture.looks
    names = ", ".join(run.name for run in plotted)
    words = escape(f"{picture.heading} by step, of {names}. The best numbers are written above.")
    return (
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark) and {_NARROW}" srcset="{looks[Look(True, True)]}">'
        f'<source media="(prefers-color-scheme: dark)" srcset="{looks[Look(True, False)]}">'
        f'<source media="{_NARROW}" srcset="{looks[Look(False, True)]}">'
        f'<img src="{looks[Look(False, False)]}" alt="{words}"></picture></figure>\n'
    )


def _settings(runs: Sequence[Run]) -> str:
    differ = set(differing(runs)) if len(runs) > 1 else set()
    same: dict[str, Any] = {}
    for run in runs:
        same |= {key: value for key, value in run.settings.items() if key not in differ}
    rows = pages.terms({key: wording.setting(value) for key, value in same.items()})
    return f'<dl class="facts">{rows}</dl>\n' if rows else ""


def _commands(runs: Sequence[Run]) -> str:
    return "".join(pages.command(f"Command of {run.name}", run.command) for run in runs if run.command)
