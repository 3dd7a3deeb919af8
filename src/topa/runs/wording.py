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
