"""Plots with intervals as small inline SVGs, one per row: they follow the page's colours and any width.

Reads conditions and differences; gives HTML to `page`. Positions are per cent of the width, so that text never shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from .wording import METHOD, interval, label, percent, points, verdict

if TYPE_CHECKING:
    from .report import Condition, Difference

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where the grid's lines are, as shares of the width."""


def accuracy_plot(conditions: Iterable[Condition]) -> str:
    """Bars from 0 to 100 %, whiskers for the intervals, a dashed line where chance is."""
    conditions = list(conditions)
    chance = next((condition.accuracy.value for condition in conditions if condition.name == "chance"), None)
    grid = "".join(_vertical(x, "grid") for x in QUARTERS)
    if chance is not None:
        grid += _vertical(chance, "chance")
    rows = "".join(_condition(condition, grid) for condition in conditions)
    note = " The dashed line is chance." if chance is not None else ""
    caption = f"Share of right answers. Thin lines: 95 % intervals, videos resampled.{note}"
    return _figure(rows, [(x, f"{100 * x:.0f} %") for x in QUARTERS], caption)


def difference_plot(differences: Iterable[Difference]) -> str:
    """Points with intervals around zero; right of it, the first of the two conditions is better."""
    differences = list(differences)
    if not differences:
        return ""
    reach = max(max(abs(d.estimate.low), abs(d.estimate.high), abs(d.estimate.value)) for d in differences)
    limit = max(0.1, math.ceil(10 * reach - 1e-9) / 10)
    rows = "".join(_difference(difference, limit) for difference in differences)
    ticks = [(x, f"{100 * limit * (2 * x - 1):+.0f}".replace("-", "−") if x != 0.5 else "0") for x in QUARTERS]
    caption = (
        "Differences in percentage points, paired: the same questions and the same resampled videos. "
        "Where an interval stays clear of the line in the middle, the difference is more than luck with the videos."
    )
    return _figure(rows, ticks, caption)


def _figure(rows: str, ticks: Iterable[tuple[float, str]], caption: str) -> str:
    return f'<figure>\n<ul class="plot">{rows}</ul>\n{_axis(ticks)}<figcaption>{caption}</figcaption></figure>\n'


def _condition(condition: Condition, grid: str) -> str:
    found = condition.accuracy
    words = f"{percent(found.value)} %, 95 % interval {percent(found.low)} to {percent(found.high)}"
    bar = f'<rect class="bar" x="0" y="50%" width="{100 * found.value:.2f}%" height="14" transform="translate(0 -7)"/>'
    return _row(
        "method" if condition.name == METHOD else "baseline",
        label(condition.name),
        condition.about,
        _svg(f"{label(condition.name)}: {words}", grid + bar + _whisker(found.low, found.high)),
        f"{percent(found.value)} %",
        interval(found),
    )


def _difference(difference: Difference, limit: float) -> str:
    found = difference.estimate

    def across(value: float) -> float:
        return 0.5 + value / limit / 2

    words = f"{points(found.value)} points, 95 % interval {points(found.low)} to {points(found.high)}"
    grid = "".join(_vertical(x, "zero" if x == 0.5 else "grid") for x in QUARTERS)
    point = f'<circle cx="{100 * across(found.value):.2f}%" cy="50%" r="5.5"/>'
    drawing = grid + _whisker(across(found.low), across(found.high)) + point
    which = ", ".join(label(kind) for kind in difference.kinds) if difference.kinds else "all questions"
    state = verdict(found)
    return _row(
        state.replace(" ", "-"),
        label(difference.name),
        which,
        _svg(f"{label(difference.name)}, {which}: {words}; {state}", drawing),
        f"{points(found.value)} <em>{state}</em>",
        f"{points(found.low)} to {points(found.high)}",
    )


def _row(state: str, name: str, about: str, svg: str, value: str, small: str) -> str:
    return (
        f'<li class="{state}"><div class="name"><b>{escape(name)}</b><span>{escape(about)}</span></div>{svg}'
        f'<div class="value"><b>{value}</b><span>{small}</span></div></li>\n'
    )


def _svg(words: str, drawing: str) -> str:
    return f'<div class="drawing"><svg role="img" aria-label="{escape(words)}">{drawing}</svg></div>'


def _vertical(x: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{100 * x:.2f}%" x2="{100 * x:.2f}%" y1="0" y2="100%"/>'


def _whisker(low: float, high: float) -> str:
    return f'<line class="whisker" x1="{100 * low:.2f}%" x2="{100 * high:.2f}%" y1="50%" y2="50%"/>'


def _axis(ticks: Iterable[tuple[float, str]]) -> str:
    anchors = {0.0: "start", 1.0: "end"}
    texts = "".join(
        f'<text x="{100 * x:.2f}%" y="14" text-anchor="{anchors.get(x, "middle")}">{text}</text>' for x, text in ticks
    )
    return f'<div class="axis" aria-hidden="true"><svg>{texts}</svg></div>\n'
