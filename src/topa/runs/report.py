"""A report on runs as files: every plot as PNG, and all of it as one HTML page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.artifacts import output_folder, write_atomically
from ..core.errors import UsageError
from .page import Picture, page
from .plots import OVERLAID, PLOTS, Look, draw
from .read import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FILES = ("report.html", *(f"{name}.png" for name in PLOTS))
"""What a report is written as."""


def write_report(runs: Sequence[Run], out: Path, command: str) -> Path:
    """Write `report.html` and a PNG per plot into a folder; return the path of the page.

    runs: in the order of their importance; of many, the first `OVERLAID` are drawn. command: what made the report.
    Raises UsageError where matplotlib isn't installed or no run has a step yet, OutputError where `out` can't be
    written.
    """
    plotted = [run for run in runs if run.step or any(name.startswith("held_out/") for name in run.series)]
    if not plotted:
        raise UsageError(
            f"{', '.join(run.name for run in runs[:3])}: no step is logged yet, so there is nothing to plot. "
            "Wait for the first steps, then run the same command again."
        )
    plotted = plotted[:OVERLAID]
    folder = output_folder(out, *FILES)
    pictures = []
    looks = [Look(dark, narrow) for dark in (False, True) for narrow in (False, True)]
    for name, (heading, _) in PLOTS.items():
        figures = {look: draw(name, plotted, look) for look in looks}
        drawings = {look: figure for look, figure in figures.items() if figure is not None}
        if drawings:
            pictures.append(Picture(name, heading, {look: _data(figure) for look, figure in drawings.items()}))
            write_atomically(folder / f"{name}.png", _image(drawings[Look()], "png"))
    write_atomically(folder / "report.html", page(runs, plotted, pictures, command))
    return folder / "report.html"


def _image(figure: Figure, form: str) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "topa"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # run names may be in any script
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(buffer, format=form, dpi=200, metadata=metadata)
    return buffer.getvalue()


def _data(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(_image(figure, "svg")).decode()
