"""Plots of runs: loss, held-out numbers, schedule, speed, gates; each in light or dark, wide or narrow.

Gives matplotlib figures to `report`; a plot for which a run has no numbers is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from typing import TYPE_CHECKING, Any

from ..core.errors import UsageError
from ..core.install import install_line
from .read import Run, Series, layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 300
"""A curve is drawn through at most so many points, however long the run is."""
OVERLAID = 12
"""So many runs are drawn over each other at most: more can't be told apart."""
_SPAN = 0.04
"""The share of a run's steps over which the smoothed curves average."""

# Okabe and Ito's colours, which colour-blind people tell apart too; on dark paper, lighter where they need it.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
_DARK = ("#56b4e9", "#ff9e4a", "#35c79a", "#e59bc4", "#f0e442", "#9ecae1")
_DASHES = ("-", "--")  # dotted is what was held out
_RATE = "Learning rate"


@dataclass(frozen=True, slots=True)
class Look:
    """How a plot is drawn: colours of light or dark paper, beside each other or, narrow, for a phone."""

    dark: bool = False
    narrow: bool = False

    @property
    def ink(self) -> str:
        """The colour of words."""
        return "#e8e5de" if self.dark else "#22262b"

    @property
    def muted(self) -> str:
        """The colour of what explains: axes, ticks."""
        return "#9da2aa" if self.dark else "#5b6068"

    @property
    def line(self) -> str:
        """The colour of the grid."""
        return "#30343a" if self.dark else "#e4e1d9"

    @property
    def paper(self) -> str:
        """The colour behind all of it."""
        return "#15171a" if self.dark else "#fbfaf7"

    def style(self, number: int) -> dict[str, Any]:
        """The colour and the dashes of a run, by its place."""
        dash, colour = list(product(_DASHES, _DARK if self.dark else _LIGHT))[number % (6 * len(_DASHES))]
        return {"color": colour, "linestyle": dash}


Plot = Callable[[Sequence[Run], Look], "Figure | None"]


def loss(runs: Sequence[Run], look: Look) -> Figure | None:
    """Training loss, smoothed, over the range of single steps where there is one run; dots: held-out loss."""
    if not any(run.get("loss").steps for run in runs):
        return None
    figure, (axes,) = _panels(look, ["Loss, mean nats per target token"])
    for number, run in enumerate(runs):
        style = look.style(number)
        series, held = run.get("loss"), run.get("held_out/loss")
        if len(runs) == 1:
            _band(axes, series, style["color"])
        _curve(axes, series, label=_named(run) if len(runs) > 1 else "training, smoothed", **style)
        if held.steps:
            other = {} if len(runs) > 1 else look.style(1)
            shown = style | other | {"linestyle": ":" if len(runs) > 1 else "-"}
            axes.plot(
                held.steps,
                held.values,
                marker="o",
                markersize=3.5,
                linewidth=1,
                **shown,
                label=None if len(runs) > 1 else "held out",
            )
    _logarithmic(axes, [run.get("loss") for run in runs])
    return _finished(figure, look, "Dotted with markers: held out" if len(runs) > 1 else None)


def held_out(runs: Sequence[Run], look: Look) -> Figure | None:
    """What was right of the held-out questions, and ROUGE-L of held-out captions, at each validation."""
    names = {"accuracy": "Right answers, held out, %", "rouge_l": "ROUGE-L of captions, held out, %"}
    return _grid(runs, look, {f"held_out/{key}": title for key, title in names.items()}, scale=100, marked=True)


def schedule(runs: Sequence[Run], look: Look) -> Figure | None:
    """Learning rate, and the norm of the gradient before it was clipped."""
    return _grid(runs, look, {"lr": _RATE, "gradient_norm": "Gradient norm, before clipping"})


def speed(runs: Sequence[Run], look: Look) -> Figure | None:
    """Tokens a second, and the share of a step that waited for data."""
    shared = []
    for run in runs:
        wait, spent = run.get("wait"), run.get("seconds")
        share = Series()
        if wait.steps == spent.steps:
            for step, waited, seconds in zip(wait.steps, wait.values, spent.values, strict=True):
                share.add(step, 100 * waited / seconds if seconds else 0.0)
        shared.append(share)
    rates = [run.get("tokens_per_second") for run in runs]
    panels = {"Tokens per second": rates, "Waiting for data, % of the step": shared}
    return _drawn(
        runs, look, {title: found for title, found in panels.items() if any(s.steps for s in found)}, zero=True
    )


def gates(runs: Sequence[Run], look: Look) -> Figure | None:
    """How far each layer opened: mean |tanh(gate)| over the steps as a heat map; of several runs, at their ends."""
    return _by_layer(runs, look, "gates", "Gate opening, mean |tanh(gate)|")


def video_bias(runs: Sequence[Run], look: Look) -> Figure | None:
    """The mean video bias of each layer, which is subtracted from the scores of frames, drawn as the gates are."""
    return _by_layer(runs, look, "video_bias", "Video bias, mean of the heads")


PLOTS: dict[str, tuple[str, Plot]] = {
    "loss": ("Loss", loss),
    "held-out": ("On held-out data", held_out),
    "schedule": ("Learning rate and gradient", schedule),
    "speed": ("Speed", speed),
    "gates": ("How far each layer opened", gates),
    "video-bias": ("Video bias by layer", video_bias),
}
"""The plots by the names of their files, with their headings."""


def smoothed(values: Sequence[float], span: int) -> list[float]:
    """Means over `span` values around each; at the ends over those that are there."""
    total = [0.0, *accumulate(values)]
    reach = span // 2
    ranges = ((max(0, k - reach), min(len(values), k + reach + 1)) for k in range(len(values)))
    return [(total[end] - total[start]) / (end - start) for start, end in ranges]


def _panels(look: Look, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise UsageError(f"plots of runs need matplotlib: {install_line('report')}") from error
    number = len(titles)
    size = (4.4, 3.1 * number + 0.2) if look.narrow else (10.0, 3.9)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.06, hspace=0.08)
    figure = Figure(figsize=size, layout=layout, facecolor=look.paper)
    rows, columns = (number, 1) if look.narrow else (1, number)
    panels = [figure.add_subplot(rows, columns, place + 1) for place in range(number)]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_facecolor(look.paper)
        axes.set_title(title, loc="left", fontsize=10, color=look.ink, pad=8)
        axes.set_xlabel("step", fontsize=9, color=look.muted)
        axes.tick_params(colors=look.muted, labelsize=8.5, length=0)
        axes.grid(True, color=look.line, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.xaxis.set_major_locator(
            MaxNLocator(5 if look.narrow or number > 1 else 8, integer=True, steps=[1, 2, 5, 10])
        )
        axes.xaxis.set_major_formatter(_thousands)
    return figure, panels


def _named(run: Run) -> str:
    """A run's name as matplotlib shows it as it is: no formulas, and no underscore first, which would hide it."""
    short = run.name if len(run.name) <= 40 else f"...{run.name[-37:]}"
    return (f" {short}" if short.startswith("_") else short).replace("$", r"\$")


def _thousands(value: float, _: object = None) -> str:
    return f"{value:,.0f}"


def _curve(axes: Axes, series: Series, *, exact: bool = False, **style: Any) -> None:
    """A series through few points, smoothed or exact."""
    if not series.steps:
        return
    values = series.values if exact else _smooth(series)
    stride = max(1, math.ceil(len(values) / POINTS))
    chosen = sorted({*range(0, len(values), stride), len(values) - 1})
    few: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(chosen) < 2 else {}
    axes.plot([series.steps[k] for k in chosen], [values[k] for k in chosen], linewidth=1.7, **few, **style)


def _smooth(series: Series) -> list[float]:
    return smoothed(series.values, int(_SPAN * len(series.values)) | 1)


def _band(axes: Axes, series: Series, colour: str) -> None:
    """The range of the single values behind a smoothed curve."""
    stride = max(1, math.ceil(len(series.values) / POINTS))
    parts = range(0, len(series.values), stride)
    steps = [series.steps[min(k + stride // 2, len(series.steps) - 1)] for k in parts]
    low, high = ([pick(series.values[k : k + stride]) for k in parts] for pick in (min, max))
    if stride == 1:
        axes.plot(steps, low, color=colour, alpha=0.3, linewidth=0.8)
    else:
        axes.fill_between(steps, low, high, color=colour, alpha=0.22, linewidth=0)


def _logarithmic(axes: Axes, found: Sequence[Series]) -> None:
    """A logarithmic axis where the smoothed values span an order of magnitude."""
    values = [value for series in found for value in _smooth(series)]
    if values and min(values) > 0 and max(values) / min(values) > 10:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))


def _grid(
    runs: Sequence[Run], look: Look, names: dict[str, str], *, scale: float = 1, marked: bool = False
) -> Figure | None:
    panels = {}
    for key, title in names.items():
        found = [run.get(key) for run in runs]
        if any(series.steps for series in found):
            panels[title] = [_scaled(series, scale) for series in found]
    return _drawn(runs, look, panels, marked=marked)


def _scaled(series: Series, by: float) -> Series:
    made = Series()
    for step, value in zip(series.steps, series.values, strict=True):
        made.add(step, by * value)
    return made


def _drawn(
    runs: Sequence[Run], look: Look, panels: dict[str, list[Series]], *, marked: bool = False, zero: bool = False
) -> Figure | None:
    """A panel a title, a curve a run. marked: few values, each shown. zero: the axis begins there."""
    if not panels:
        return None
    figure, drawn = _panels(look, list(panels))
    for axes, (title, found) in zip(drawn, panels.items(), strict=True):
        for number, (run, series) in enumerate(zip(runs, found, strict=True)):
            style = look.style(number) | {"label": _named(run)}
            if marked:
                axes.plot(series.steps, series.values, marker="o", markersize=3.5, linewidth=1.5, **style)
            else:
                exact = title == _RATE
                if len(runs) == 1 and not exact:
                    _band(axes, series, style["color"])
                _curve(axes, series, exact=exact, **style)
        if zero:
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(_plain)
        elif not marked:
            if title != _RATE:
                _logarithmic(axes, found)
            else:
                axes.yaxis.set_major_formatter(_plain)
    return _finished(figure, look, None, legend=len(runs) > 1)


def _plain(value: float, _: object = None) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _by_layer(runs: Sequence[Run], look: Look, name: str, title: str) -> Figure | None:
    found = [layers(run, name) for run in runs]
    if not any(found):
        return None
    if len(runs) == 1:
        return _heat(found[0], look, title)
    figure, (axes,) = _panels(look, [f"{title}, at the end of each run"])
    for number, (run, one) in enumerate(zip(runs, found, strict=True)):
        if one:
            ends = [series.values[-1] for series in one.values()]
            axes.plot(list(one), ends, marker="o", markersize=3, linewidth=1.4, label=_named(run), **look.style(number))
    axes.set_xlabel("layer", fontsize=9, color=look.muted)
    if name == "gates":
        axes.set_ylim(bottom=0)
    return _finished(figure, look, None)


def _heat(found: dict[int, Series], look: Look, title: str) -> Figure:
    """A row a layer, the first one below; a column a measurement."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _panels(look, [title])
    steps = sorted({step for series in found.values() for step in series.steps})
    values = [[dict(zip(s.steps, s.values, strict=True)).get(step, math.nan) for step in steps] for s in found.values()]
    middles = [(a + b) / 2 for a, b in pairwise(steps)]
    borders = [steps[0], *middles, steps[-1]] if middles else [steps[0] - 0.5, steps[0] + 0.5]
    edges = [min(found) + row - 0.5 for row in range(len(found) + 1)]
    axes.grid(False)
    mesh = axes.pcolormesh(borders, edges, values, cmap="cividis", rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=look.muted, labelsize=8.5, length=0)
    axes.set_ylabel("layer", fontsize=9, color=look.muted)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _finished(figure: Figure, look: Look, note: str | None, *, legend: bool = True) -> Figure:
    """One legend for all panels, below them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if legend and labels:
        columns = 1 if look.narrow else min(4, len(labels))
        figure.set_figheight(figure.get_figheight() + 0.19 * math.ceil(len(labels) / columns))
        figure.legend(
            handles,
            labels,
            loc="outside lower left",
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            labelcolor=look.ink,
            title=note,
            title_fontproperties={"size": 8.5},
            alignment="left",
        ).get_title().set_color(look.muted)
    return figure
