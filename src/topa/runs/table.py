"""Many runs as a table: sorted by what people look for, with the settings that differ as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ..core.formatting import duration
from ..core.registry import unknown
from . import wording
from .read import Run, differing
from .wording import NONE

_HIGHER = {"accuracy", "rouge_l", "step", "tokens_per_second", "seconds", "started"}
_GAP = 2  # characters between columns
_MEASURES = ("accuracy", "loss", "rouge_l")


def run_as_json(run: Run) -> dict[str, Any]:
    """Return a run as JSON."""
    bests = {measure: run.best(measure) for measure in _MEASURES}
    return {
        "name": run.name,
        "folder": str(run.folder),
        "kind": run.kind,
        "llm": run.llm,
        "started": run.started,
        "state": run.state,
        "step": run.step,
        "steps": run.steps,
        "best": {key: None if b is None else {"value": b.value, "step": b.step} for key, b in bests.items()},
        "train_loss": run.loss,
        "tokens_per_second": run.tokens_per_second,
        "seconds": run.seconds,
        "silent": run.silent,
        "result": run.result,
        "settings": run.settings,
        "notes": run.notes,
    }


def ordered(runs: Sequence[Run], key: str = "accuracy") -> list[Run]:
    """Sort best first by a measure or a number of the table, or ascending by a setting; runs that lack it come last.

    Raises UsageError for a key that no run has.
    """
    numbers = {"name", "step", "started", "train_loss", "tokens_per_second", "seconds"}
    settings = {name for run in runs for name in run.settings}
    if key not in numbers | set(_MEASURES) | settings:
        raise unknown("key to sort by", key, numbers | set(_MEASURES) | settings)

    def value(run: Run) -> Any:
        if key in _MEASURES:
            best = run.best(key)
            return None if best is None else best.value
        if key in numbers:
            return getattr(run, "loss" if key == "train_loss" else key)
        return run.settings.get(key)

    def loss(run: Run) -> float:
        best = run.best("loss")
        return float("inf") if best is None else best.value

    lacking = [run for run in runs if value(run) is None]
    having = sorted((run for run in runs if value(run) is not None), key=lambda run: (loss(run), run.name))
    # Settings may be numbers in one run and words in another.
    plain = all(isinstance(value(run), int | float) for run in having)
    having.sort(key=lambda run: value(run) if plain else str(value(run)), reverse=key in _HIGHER)
    return having + sorted(lacking, key=lambda run: (loss(run), run.name))


@dataclass(frozen=True, slots=True)
class Column:
    """One cell per run. room: where columns don't all fit, those of the highest number go first; 0 always stays."""

    title: str
    cells: list[str]
    room: float
    right: bool = True

    @property
    def width(self) -> int:
        """Width of the widest cell, in characters of a terminal."""
        return max(map(cell_len, [self.title, *self.cells]))


def columns(runs: Sequence[Run]) -> tuple[list[Column], list[str]]:
    """Return the columns that differ, and a line for each that says the same of all runs."""
    informative, lines = [], []
    for column in _columns(runs):
        same = len(runs) > 1 and len(set(column.cells)) == 1
        if same and column.title in ("kind", "LLM") and column.cells[0] != NONE:
            lines.append(f"{column.title} of all: {column.cells[0]}")
        elif column.room == 0 or set(column.cells) != {NONE}:
            informative.append(column)
    return informative, lines


def table(runs: Sequence[Run], width: int) -> tuple[Table, list[str]]:
    """Return the runs as a table, and lines that belong below: what is the same in all, what had no room.

    width: of the terminal, in characters.
    """
    columns_shown, lines = columns(runs)
    left = []
    while sum(column.width + _GAP for column in columns_shown) - _GAP > width:
        last = max(columns_shown, key=lambda column: column.room)
        if last.room == 0:
            break
        columns_shown.remove(last)
        left.append(last.title)
    if left:
        lines.append(f"no room here for: {', '.join(left)} (--json has all of it)")
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in columns_shown:
        folds = column.title == "run"
        grid.add_column(column.title, justify="right" if column.right else "left", no_wrap=not folds, overflow="fold")
    for row in zip(*(column.cells for column in columns_shown), strict=True):
        grid.add_row(*map(Text, row))  # names may hold what rich takes for markup
    return grid, lines


def _columns(runs: Sequence[Run]) -> Iterator[Column]:
    def optional(put: Callable[[float], str], values: Iterable[float | None]) -> list[str]:
        return [NONE if value is None else put(value) for value in values]

    yield Column("run", [run.name for run in runs], 0, right=False)
    yield Column("kind", [run.kind or NONE for run in runs], 7, right=False)
    yield Column("LLM", _models(runs), 3.6, right=False)
    for number, key in enumerate(key for key in differing(runs) if key != "llm"):
        cells = [wording.setting(run.settings[key]) if key in run.settings else NONE for run in runs]
        yield Column(key, cells, 3 + number / 1000)
    yield Column("state", [run.state for run in runs], 0, right=False)
    yield Column("step", [wording.steps(run) for run in runs], 0)
    for measure, title, room in (
        ("accuracy", "accuracy", 0),
        ("loss", "held-out loss", 3.5),
        ("rouge_l", "ROUGE-L", 4),
    ):
        yield Column(title, [wording.best(run.best(measure), measure) for run in runs], room)
    yield Column("train loss", optional(wording.decimal, (run.loss for run in runs)), 5)
    yield Column("tokens/s", optional("{:,.0f}".format, (run.tokens_per_second for run in runs)), 6)
    yield Column("time", optional(duration, (run.seconds for run in runs)), 6)


def _models(runs: Sequence[Run]) -> list[str]:
    """Return short names of the language models, or long ones where the short ones would hide a difference."""
    short = [wording.model(run.llm) for run in runs]
    return short if len(set(short)) == len({run.llm for run in runs}) else [run.llm or NONE for run in runs]
