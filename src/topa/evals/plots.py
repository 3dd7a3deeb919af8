"""Plots with intervals as small inline SVGs, one per row: they follow the page's colours and any width.

Reads conditions and differences; gives HTML to `page`. Positions are per cent of the width, so that text never shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

from .formatting import interval, label, letter, percent, points, verdict

if TYPE_CHECKING:
    from .metrics import IntervalEstimate
    from .report import Calibration, Condition, Difference, Letters

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where the grid's lines are, as shares of the width."""


def accuracy_plot(conditions: Iterable[Condition], method: str) -> str:
    """Bars from 0 to 100 %, whiskers for the intervals, a dashed line where chance is.

    method: the name of the condition that stands out.
    """
    conditions = list(conditions)
    chance = next((condition.accuracy.value for condition in conditions if condition.name == "chance"), None)
    grid = "".join(_vertical(x, "grid") for x in QUARTERS)
    if chance is not None:
        grid += _vertical(chance, "chance")
    rows = "".join(_condition(condition, grid, method) for condition in conditions)
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


def parts_plot(parts: Mapping[str, IntervalEstimate], chance: Mapping[str, IntervalEstimate]) -> str:
    """Bars by part of a partition, such as the types of questions, each with its number of questions and, where it is
    known, a dashed line for chance."""
    grid = "".join(_vertical(x, "grid") for x in QUARTERS)
    rows = "".join(
        _bar(
            "method",
            part,
            _questions(found),
            found,
            grid + (_vertical(chance[part].value, "chance") if part in chance else ""),
        )
        for part, found in parts.items()
    )
    note = " Dashed lines: chance." if set(parts) & set(chance) else ""
    caption = f"Share of right answers. Thin lines: 95 % intervals, videos resampled.{note}"
    return _figure(rows, [(x, f"{100 * x:.0f} %") for x in QUARTERS], caption)


def letters_plot(letters: Letters) -> str:
    """For each letter two bars: the share of choices that it was, and the share of right answers that it is."""
    shares = [[number / max(sum(numbers), 1) for number in numbers] for numbers in (letters.chosen, letters.right)]
    reach = max([*shares[0], *shares[1]], default=0.0)
    limit = next(step for step in (0.25, 0.5, 1.0) if reach <= step)
    known = sum(letters.right) > 0
    grid = "".join(_vertical(x, "grid") for x in QUARTERS)
    rows = ""
    for place, (chosen, right) in enumerate(zip(*shares, strict=True)):
        name = letter(place)
        words = f"{name}: chosen in {percent(chosen)} %"
        drawing = grid + _rect("bar", chosen / limit, 11, -12 if known else -5.5)
        if known:
            words += f", right in {percent(right)} %"
            drawing += _rect("truth", right / limit, 11, 1)
        rows += _row(
            "method",
            name,
            f"chosen {letters.chosen[place]:,}×" + (f", right {letters.right[place]:,}×" if known else ""),
            _svg(words, drawing),
            f"{percent(chosen)} %",
            f"right {percent(right)} %" if known else "",
        )
    caption = '<i class="key bar-key"></i> Share of what was chosen. ' + (
        '<i class="key truth-key"></i> Share of what is right. Where the first is longer, the letter itself is liked.'
        if known
        else "Which letters are right is not public."
    )
    return _figure(rows, [(x, f"{100 * limit * x:g} %") for x in QUARTERS], caption)


def reliability_plot(calibration: Calibration) -> str:
    """Accuracy over confidence, a bar per bin; on the diagonal what is chosen with 70 % is right in 70 %."""
    grid = "".join(
        f'<line class="grid" x1="{at:g}%" x2="{at:g}%" y1="0" y2="100%"/>'
        f'<line class="grid" x1="0" x2="100%" y1="{at:g}%" y2="{at:g}%"/>'
        for at in (0, 25, 50, 75, 100)
    )
    bars = "".join(
        f'<rect class="bar" x="{100 * b.low + 0.5:.1f}%" width="{100 * (b.high - b.low) - 1:.1f}%" '
        f'y="{100 * (1 - b.accuracy):.2f}%" height="{100 * b.accuracy:.2f}%"/>'
        for b in calibration.bins
    )
    dots = "".join(
        f'<circle cx="{100 * b.confidence:.2f}%" cy="{100 * (1 - b.accuracy):.2f}%" r="5"/>' for b in calibration.bins
    )
    ticks = "".join(
        f'<text x="{at}%" y="100%" dy="20" text-anchor="middle">{at}</text>'
        f'<text x="0" dx="-8" y="{100 - at}%" dy="4" text-anchor="end">{at}</text>'
        for at in (0, 25, 50, 75, 100)
    )
    words = "; ".join(
        f"confidence {percent(b.confidence)} %, right {percent(b.accuracy)} %, of {b.questions}"
        for b in calibration.bins
    )
    return (
        '<figure class="square method"><div><svg role="img" aria-label="'
        f'{escape(words)}">{grid}{bars}<line class="chance" x1="0" x2="100%" y1="100%" y2="0"/>{dots}{ticks}</svg>'
        "</div><figcaption>Right answers in per cent, upwards, over the probability of the chosen option, to the "
        "right. On the dashed line one can take the probability at its word; below it the model is too sure."
        "</figcaption></figure>\n"
    )


def _figure(rows: str, ticks: Iterable[tuple[float, str]], caption: str) -> str:
    return f'<figure>\n<ul class="plot">{rows}</ul>\n{_axis(ticks)}<figcaption>{caption}</figcaption></figure>\n'


def _condition(condition: Condition, grid: str, method: str) -> str:
    state = "method" if condition.name == method else "baseline"
    return _bar(state, condition.name, condition.about, condition.accuracy, grid)


def _bar(state: str, name: str, about: str, found: IntervalEstimate, grid: str) -> str:
    words = f"{percent(found.value)} %, 95 % interval {percent(found.low)} to {percent(found.high)}"
    drawing = grid + _rect("bar", found.value, 14, -7) + _whisker(found.low, found.high)
    return _row(
        state,
        label(name),
        about,
        _svg(f"{label(name)}: {words}", drawing),
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


def _rect(kind: str, width: float, height: float, above: float) -> str:
    """A bar from the left; its upper edge is `above` pixels off the middle of the row."""
    return (
        f'<rect class="{kind}" x="0" y="50%" width="{100 * width:.2f}%" height="{height:g}" '
        f'transform="translate(0 {above:g})"/>'
    )


def _questions(found: IntervalEstimate) -> str:
    return f"{found.questions:,} question{'s' if found.questions != 1 else ''}"


def _axis(ticks: Iterable[tuple[float, str]]) -> str:
    anchors = {0.0: "start", 1.0: "end"}
    texts = "".join(
        f'<text x="{100 * x:.2f}%" y="14" text-anchor="{anchors.get(x, "middle")}">{text}</text>' for x, text in ticks
    )
    return f'<div class="axis" aria-hidden="true"><svg>{texts}</svg></div>\n'
