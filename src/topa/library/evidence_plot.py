"""The timeline of an explanation as a picture: thumbnails, the support of each frame, the attention to it.

Gives PNG bytes to `evidence.write_evidence`; drawn by matplotlib.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from ..core.install import install_line
from ..core.thumbnails import shrink
from .evidence_page import moment, places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

    from ..inference.explain import Explanation

_INK, _MUTED, _LINE, _PAPER = "#22262b", "#5b6068", "#e4e1d9", "#fbfaf7"
_FOR, _AGAINST, _LOOKED = "#0f766e", "#b3372b", "#8a8f97"
_ROOM = 0.095
"""The share of the width that a thumbnail takes."""
_TICKS = 12
_TITLE = 90


def timeline(explanation: Explanation, images: Sequence[Image]) -> bytes:
    """A PNG. images: one per frame, or none. Raises UsageError where matplotlib isn't installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(f"the timeline needs matplotlib: {install_line('report')}") from error
    frames = explanation.frames
    at = places(frames)
    heights = [1.5] * bool(images) + [2.2, 1.1]
    figure = Figure(figsize=(10, sum(heights) + 1), layout="constrained", facecolor=_PAPER)
    rows = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    if images:
        _pictures(rows[0], explanation, images, at)
    gaps = [b - a for a, b in pairwise(at)]
    width = min(0.08, 0.7 * min(gaps, default=1.0))
    support = [frame.support for frame in frames]
    _bars(rows[-2], "Support: what the score loses without the frame, nats", at, support, width)
    _bars(rows[-1], "Attention of the answer, %", at, [100 * frame.attention for frame in frames], width, _LOOKED)
    stride = -(-len(frames) // _TICKS)
    rows[-1].set_xlim(0, 1)
    rows[-1].set_xticks(at[::stride], [moment(frame, n) for n, frame in enumerate(frames)][::stride])
    asked = explanation.question or "What does the video show?"
    figure.suptitle(_short(f"{asked} “{explanation.text}”"), x=0.01, ha="left", fontsize=12, color=_INK)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # questions may be in any script
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _short(text: str) -> str:
    """One line as matplotlib shows it as it is: no formulas."""
    line = " ".join(text.split())
    return (line if len(line) <= _TITLE else f"{line[:_TITLE]}...").replace("$", r"\$")


def _bars(axes: Axes, title: str, at: Sequence[float], values: Sequence[float], width: float, colour: str = "") -> None:
    axes.set_facecolor(_PAPER)
    axes.set_title(title, loc="left", fontsize=9.5, color=_MUTED)
    axes.bar(at, values, width, color=[colour or (_FOR if value >= 0 else _AGAINST) for value in values])
    axes.axhline(0, color=_MUTED, linewidth=0.8)
    axes.grid(True, axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelsize=8.5, length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _pictures(axes: Axes, explanation: Explanation, images: Sequence[Image], at: Sequence[float]) -> None:
    """Thumbnails above their frames; where they would cover each other, those with more support."""
    import numpy as np
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    axes.set_axis_off()
    axes.set_ylim(0, 1)
    drawn: list[int] = []
    for number in sorted(range(len(images)), key=lambda n: -explanation.frames[n].support):
        if any(abs(at[number] - at[other]) < _ROOM for other in drawn):
            continue
        drawn.append(number)
        small = shrink(images[number], 220)
        box = OffsetImage(np.asarray(small), zoom=60 / max(small.size))
        best = number == explanation.strongest
        edge = {"edgecolor": _FOR if best else _LINE, "linewidth": 2.5 if best else 0.8}
        axes.add_artist(AnnotationBbox(box, (at[number], 0.5), frameon=True, pad=0.1, bboxprops=edge))
