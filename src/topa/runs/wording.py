"""How numbers of a run are put: the same in the terminal and on the page."""

from __future__ import annotations

import json
from typing import Any

from .read import Best, Run

NONE = "–"


def percent(share: float) -> str:
    """0.6321 is "63.2 %"."""
    return f"{100 * share:.1f} %"


def decimal(value: float) -> str:
    """A loss or a rate, three digits behind the point, or four that count: "2.346", "0.0002341"."""
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.4g}"


def setting(value: Any) -> str:
    """A setting as one would write it in a recipe."""
    if value is None:
        return NONE
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, default=str)


def steps(run: Run) -> str:
    """How far a run is: "400", or "230 of 400" where some are left."""
    done = f"{run.step:,}"
    return done if run.steps in (None, run.step) else f"{done} of {run.steps:,}"


def best(found: Best | None, measure: str) -> str:
    """The value and its step: "81.5 % at 400"."""
    if found is None:
        return NONE
    return f"{decimal(found.value) if measure == 'loss' else percent(found.value)} at {found.step:,}"


def model(llm: str | None) -> str:
    """A language model by the last part of its path or id: "Llama-2-7b-hf"."""
    return llm.rstrip("/").rpartition("/")[2] or llm if llm else NONE
