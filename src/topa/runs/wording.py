"""How numbers of a run are put: the same in the terminal and on the page."""

from __future__ import annotations

import json
from typing import Any

from ..core.formatting import percent
from .read import Best, Run

NONE = "–"


def decimal(value: float) -> str:
    """Format a loss or a rate with three digits behind the point, or four significant ones: "2.346", "0.0002341"."""
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Format a duration: 3.21 is "3.2 s", 192 is "3 min 12 s", 1810 is "30 min", 7500 is "2 h 05 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours:,} h {minutes:02} min"


def setting(value: Any) -> str:
    """Format a setting as one would write it in a recipe."""
    if value is None:
        return NONE
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, default=str)


def steps(run: Run) -> str:
    """Format the progress of a run: "400", or "230 of 400" where some are left."""
    done = f"{run.step:,}"
    return done if run.steps in (None, run.step) else f"{done} of {run.steps:,}"


def best(measurement: Best | None, measure: str) -> str:
    """Format a best value and its step: "81.5 % at 400"."""
    if measurement is None:
        return NONE
    return f"{decimal(measurement.value) if measure == 'loss' else percent(measurement.value)} at {measurement.step:,}"


def model(llm: str | None) -> str:
    """Shorten a language model to the last part of its path or id: "Llama-2-7b-hf"."""
    return llm.rstrip("/").rpartition("/")[2] or llm if llm else NONE
