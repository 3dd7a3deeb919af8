"""Plots of runs: loss, held-out numbers, schedule, speed, gates; each on light or dark paper, wide or narrow.

Gives matplotlib figures to `report`; a plot for which no run has numbers is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import UsageError
from ..core.install import install_line
from .read import Run, Series, layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 300
"""Most points that a curve is drawn through, however long the run is."""
OVERLAID = 12
"""Most runs that are drawn over each other: more can't be told apart."""
_SPAN = 0.04
"""The share of a run's steps over which the smoothed curves average."""
_DASHES = ("-", "--")  # dotted is what was held out


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours: of words, of axes and ticks, of the grid, of the paper, of curves."""

    ink: str
    muted: str
    grid: str
    paper: str
    curves: tuple[str, ...]


# Okabe and Ito's colours, which colour-blind people tell apart too; on dark paper, lighter where they need it.
_LIGHT = Palette(
    "#22262b", "#5b6068", "#e4e1d9", "#fbfaf7", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
)
_DARK = Palette(
    "#e8e5de", "#9da2aa", "#30343a", "#15171a", ("#56b4e9", "#ff9e4a", "#35c79a", "#e59bc4", "#f0e442", "#9ecae1")
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a plot is drawn: on light or dark paper, panels beside each other or, narrow, for a phone."""

    dark: bool = False
    narrow: bool = False

    @property
    def palette(self) -> Palette:
        """Colours of the paper."""
        return _DARK if self.dark else _LIGHT

    def style(self, number: int) -> dict[str, Any]:
        """Return the colour and the dashes of a run, by its place."""
        styles = list(product(_DASHES, self.palette.curves))
        dash, colour = styles[number % len(styles)]
        return {"color": colour, "linestyle": dash}


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity of all runs. series: takes it from a run. curve: smoothed, with the range of single values where
    there is one run; exact; or points, each shown. axis: "log" where values span an order of magnitude, "zero" to begin
    there. held_out: the name of a series that is drawn beside it."""

    title: str
    series: Callable[[Run], Series]
    curve: Literal["smoothed", "exact", "points"] = "smoothed"
    axis: Literal["log", "zero", "plain"] = "log"
    held_out: str | None = None


def _named(name: str, scale: float = 1) -> Callable[[Run], Series]:
    def series(run: Run) -> Series:
        logged = run.get(name)
        return Series(logged.steps, type(logged.values)("d", [scale * value for value in logged.values]))

    return series


def _waiting(run: Run) -> Series:
    """The share of each step that waited for data, in percent."""
    wait, spent, share = run.get("wait"), run.get("seconds"), Series()
    if wait.steps == spent.steps:
        for step, waited, seconds in zip(wait.steps, wait.values, spent.values, strict=True):
            share.add(step, 100 * waited / seconds if seconds else 0.0)
    return share


PLOTS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "loss": ("Loss", (Panel("Loss, mean nats per target token", _named("loss"), held_out="held_out/loss"),)),
    "held-out": (
        "On held-out data",
        (
            Panel("Right answers, held out, %", _named("held_out/accuracy", 100), "points", "plain"),
            Panel("ROUGE-L of captions, held out, %", _named("held_out/rouge_l", 100), "points", "plain"),
        ),
    ),
    "schedule": (
        "Learning rate and gradient",
        (
            Panel("Learning rate", _named("lr"), "exact", "plain"),
            Panel("Gradient norm, before clipping", _named("gradient_norm")),
        ),
    ),
    "speed": (
        "Speed",
        (
            Panel("Tokens per second", _named("tokens_per_second"), axis="zero"),
            Panel("Waiting for data, % of the step", _waiting, axis="zero"),
        ),
    ),
    "gates": ("How far each layer opened", ()),
    "video-bias": ("Video bias by layer", ()),
}
"""The plots by the names of their files, with their headings."""
_BY_LAYER = {
    "gates": ("gates", "Gate opening, mean |tanh(gate)|"),
    "video-bias": ("video_bias", "Video bias, mean of the heads"),
}


def draw(name: str, runs: Sequence[Run], look: Look) -> Figure | None:
    """Draw one of `PLOTS`; None where no run has its numbers. Raises UsageError where matplotlib isn't installed."""
    if name in _BY_LAYER:
        return _draw_layers(runs, look, *_BY_LAYER[name])
    filled = [(panel, [panel.series(run) for run in runs]) for panel in PLOTS[name][1]]
    filled = [(panel, curves) for panel, curves in filled if any(series.steps for series in curves)]
    if not filled:
        return None
    figure, places = _panels(look, [panel.title for panel, _ in filled])
    for axes, (panel, curves) in zip(places, filled, strict=True):
        _draw_panel(axes, panel, runs, curves, look)
    several = len(runs) > 1
    note = "Dotted with markers: held out" if several and any(panel.held_out for panel, _ in filled) else None
    return _with_legend(figure, look, note)


def smoothed(values: Sequence[float], span: int) -> list[float]:
    """Compute means over `span` values around each; at the ends over those that exist."""
    total = [0.0, *accumulate(values)]
    reach = span // 2
    ranges = ((max(0, k - reach), min(len(values), k + reach + 1)) for k in range(len(values)))
    return [(total[end] - total[start]) / (end - start) for start, end in ranges]


def _draw_panel(axes: Axes, panel: Panel, runs: Sequence[Run], curves: Sequence[Series], look: Look) -> None:
    several = len(runs) > 1
    for number, (run, series) in enumerate(zip(runs, curves, strict=True)):
        label = _label(run) if several else "training, smoothed" if panel.held_out else None
        style = look.style(number)
        if panel.curve == "points":
            axes.plot(series.steps, series.values, marker="o", markersize=3.5, linewidth=1.5, label=label, **style)
        else:
            if panel.curve == "smoothed" and not several:
                _band(axes, series, style["color"])
            _curve(axes, series, exact=panel.curve == "exact", label=label, **style)
        held = run.get(panel.held_out) if panel.held_out else Series()
        if held.steps:
            beside = style | {"linestyle": ":"} if several else look.style(1) | {"linestyle": "-", "label": "held out"}
            axes.plot(held.steps, held.values, marker="o", markersize=3.5, linewidth=1, **beside)
    if panel.curve == "points":
        return
    if panel.axis == "log":
        _logarithmic(axes, curves)
        return
    if panel.axis == "zero":
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}")


def _panels(look: Look, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise UsageError(f"plots of runs need matplotlib: {install_line('report')}") from error
    number, colours = len(titles), look.palette
    size = (4.4, 3.1 * number + 0.2) if look.narrow else (10.0, 3.9)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.06, hspace=0.08)
    figure = Figure(figsize=size, layout=layout, facecolor=colours.paper)
    rows, columns = (number, 1) if look.narrow else (1, number)
    panels = [figure.add_subplot(rows, columns, place + 1) for place in range(number)]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_facecolor(colours.paper)
        axes.set_title(title, loc="left", fontsize=10, color=colours.ink, pad=8)
        axes.set_xlabel("step", fontsize=9, color=colours.muted)
        axes.tick_params(colors=colours.muted, labelsize=8.5, length=0)
        axes.grid(True, color=colours.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
        ticks = 5 if look.narrow or number > 1 else 8
        axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure, panels


def _label(run: Run) -> str:
    """Escape a run's name for matplotlib: no formulas, and no underscore first, which would hide it."""
    short = run.name if len(run.name) <= 40 else f"...{run.name[-37:]}"
    return (f" {short}" if short.startswith("_") else short).replace("$", r"\$")


def _curve(axes: Axes, series: Series, *, exact: bool, **style: Any) -> None:
    """Draw a series through few points, smoothed or exact."""
    if not series.steps:
        return
    values = series.values if exact else _smooth(series)
    stride = max(1, math.ceil(len(values) / POINTS))
    indices = sorted({*range(0, len(values), stride), len(values) - 1})
    alone: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(indices) < 2 else {}
    axes.plot([series.steps[k] for k in indices], [values[k] for k in indices], linewidth=1.7, **alone, **style)


def _smooth(series: Series) -> list[float]:
    return smoothed(series.values, int(_SPAN * len(series.values)) | 1)


def _band(axes: Axes, series: Series, colour: str) -> None:
    """Draw the range of the single values behind a smoothed curve."""
    stride = max(1, math.ceil(len(series.values) / POINTS))
    parts = range(0, len(series.values), stride)
    steps = [series.steps[min(k + stride // 2, len(series.steps) - 1)] for k in parts]
    low, high = ([pick(series.values[k : k + stride]) for k in parts] for pick in (min, max))
    if stride == 1:
        axes.plot(steps, low, color=colour, alpha=0.3, linewidth=0.8)
    else:
        axes.fill_between(steps, low, high, color=colour, alpha=0.22, linewidth=0)


def _logarithmic(axes: Axes, curves: Sequence[Series]) -> None:
    """Make the axis logarithmic where the smoothed values span an order of magnitude."""
    values = [value for series in curves for value in _smooth(series)]
    if not values or min(values) <= 0 or max(values) / min(values) <= 10:
        axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))
        return
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_layers(runs: Sequence[Run], look: Look, name: str, title: str) -> Figure | None:
    """Draw a number per layer: over the steps of one run as a heat map; of several runs, at their ends."""
    by_run = [layers(run, name) for run in runs]
    if not any(by_run):
        return None
    if len(runs) == 1:
        return _heat(by_run[0], look, title)
    figure, (axes,) = _panels(look, [f"{title}, at the end of each run"])
    for number, (run, one) in enumerate(zip(runs, by_run, strict=True)):
        if one:
            ends = [series.values[-1] for series in one.values()]
            axes.plot(list(one), ends, marker="o", markersize=3, linewidth=1.4, label=_label(run), **look.style(number))
    axes.set_xlabel("layer", fontsize=9, color=look.palette.muted)
    if name == "gates":
        axes.set_ylim(bottom=0)
    return _with_legend(figure, look, None)


def _heat(by_layer: dict[int, Series], look: Look, title: str) -> Figure:
    """Draw a row per layer, the first one below; a column per measurement."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _panels(look, [title])
    steps = sorted({step for series in by_layer.values() for step in series.steps})
    values = [
        [dict(zip(s.steps, s.values, strict=True)).get(step, math.nan) for step in steps] for s in by_layer.values()
    ]
    middles = [(a + b) / 2 for a, b in pairwise(steps)]
    borders = [steps[0], *middles, steps[-1]] if middles else [steps[0] - 0.5, steps[0] + 0.5]
    edges = [min(by_layer) + row - 0.5 for row in range(len(by_layer) + 1)]
    axes.grid(False)
    mesh = axes.pcolormesh(borders, edges, values, cmap="cividis", rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=look.palette.muted, labelsize=8.5, length=0)
    axes.set_ylabel("layer", fontsize=9, color=look.palette.muted)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _with_legend(figure: Figure, look: Look, note: str | None) -> Figure:
    """Put one legend for all panels below them, where there is something to tell apart."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if labels:
        columns = 1 if look.narrow else min(4, len(labels))
        figure.set_figheight(figure.get_figheight() + 0.19 * math.ceil(len(labels) / columns))
        small: dict[str, Any] = {"fontsize": 8.5, "title_fontproperties": {"size": 8.5}}
        place: dict[str, Any] = {"loc": "outside lower left", "ncols": columns, "alignment": "left"}
        legend = figure.legend(
            handles, labels, frameon=False, labelcolor=look.palette.ink, title=note, **small, **place
        )
        legend.get_title().set_color(look.palette.muted)
    return figure
