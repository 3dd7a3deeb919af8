"""HTML of the parts of a report: tables by kind, frames, facts. All that comes from data is escaped."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import pages
from ..core.errors import InputError
from .formatting import NONE, interval, kinds_of, label, percent

if TYPE_CHECKING:
    from .report import Condition, FrameView


def kinds_table(conditions: Sequence[Condition], method: str, what: str = "kind") -> str:
    """Accuracy by kind of question and condition, shaded by how far above chance; nothing where there are no kinds.

    method: the name of the condition that stands out. what: heads the column of kinds.
    """
    kinds = kinds_of(conditions)
    if not kinds:
        return ""
    chance = next((condition for condition in conditions if condition.name == "chance"), None)
    head = "".join(
        f'<th scope="col"{_mark(condition, method)}>{escape(label(condition.name))}</th>' for condition in conditions
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(label(kind))}</th>'
        + "".join(_cell(condition, kind, chance, _mark(condition, method)) for condition in conditions)
        + "</tr>\n"
        for kind in kinds
    )
    table = (
        f'<table class="heat"><thead><tr><th scope="col">{what}</th>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table>"
    )
    return (
        "<p>Per cent right, the 95 % interval below. The deeper the colour, the further above chance.</p>\n"
        + pages.scroller(f"Accuracy by {what} of question and condition", table)
    )


def _cell(condition: Condition, kind: str, chance: Condition | None, mark: str) -> str:
    if kind not in condition.kinds:
        return f"<td{mark}>{NONE}</td>"
    found = condition.kinds[kind]
    floor = chance.kinds[kind].value if chance and kind in chance.kinds else 0.0
    heat = max(0.0, found.value - floor) / max(1 - floor, 1e-9)
    return (
        f'<td{mark} style="--heat:{heat:.3f}" title="{found.questions} questions">'
        f"{percent(found.value)}<small>{interval(found)}</small></td>"
    )


def _mark(condition: Condition, method: str) -> str:
    return ' class="method"' if condition.name == method else ""


def frames(views: Sequence[FrameView], images: Sequence[str | None]) -> str:
    """Frames, and the memory captions each was read as. images: their data URIs, None where there is none."""
    rows = zip(views, images, strict=True)
    return f'<ol class="frames">{"".join(_frame(k, *row) for k, row in enumerate(rows, 1))}</ol>'


def _frame(number: int, frame: FrameView, image: str | None) -> str:
    captions = "".join(
        f'<li style="--share:{min(max(weight, 0.0), 1.0):.3f}"><b>{100 * weight:.0f} %</b> {escape(caption)}</li>'
        for caption, weight in zip(frame.captions, frame.weights, strict=True)
    )
    at = f"frame {number}" if frame.time is None else f"{frame.time:.1f} s"
    alt = f"Frame {number}" if frame.time is None else f"Frame at {frame.time:.1f} seconds"
    alt += f", read as: {frame.captions[0]}" if frame.captions else ""
    picture = f'<img src="{image}" alt="{escape(alt)}">' if image else ""
    state = "" if image else ' class="bare"'
    return f"<li{state}>{picture}<div><time>{at}</time><ul>{captions}</ul></div></li>"


def inline(image: str | None, folder: Path) -> str | None:
    """A data URI as it is; a file's bytes as one. Raises InputError where it isn't a picture."""
    if image is None or image.startswith("data:"):
        return image
    path = folder / image
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not path.is_file() or not kind.startswith("image/"):
        raise InputError(f"{path}: the report shows this picture; expected a PNG or JPEG file. Make the samples again.")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def facts(groups: Mapping[str, Mapping[str, str]]) -> str:
    """Names and values under headings; empty groups are left out."""
    shown = "".join(
        f"<div><h3>{heading}</h3><dl>{pages.terms(values)}</dl></div>" for heading, values in groups.items() if values
    )
    return f'<div class="facts">{shown}</div>\n' if shown else ""
