"""Runs as they lie on disk: what a folder's `run.json`, `metrics.jsonl` and `result.json` tell.

Writes nothing, and may read while the run is going on.
"""

from __future__ import annotations

import json
import math
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.errors import InputError
from ..training.metrics import METRICS, read_metrics
from ..training.trackers import flatten

RUN, RESULT = "run.json", "result.json"
LAST = 20
"""Over how many steps the loss at the end of a run is averaged: one step says little."""
SILENT = 120.0
"""Seconds without a line after which a run counts as stopped, unless its steps themselves take long."""

State = Literal["finished", "running", "stopped"]


@dataclass(slots=True)
class Series:
    """One quantity of a run: a value at each of some steps, the steps ascending."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        """Add a value. A step that comes again, as in a resumed run, replaces what was known from it on."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(value)

    def mean(self, last: int | None = None) -> float | None:
        """Return the mean of all values, or of the last ones; None where there are none."""
        window = self.values[-last:] if last else self.values
        return sum(window) / len(window) if window else None


@dataclass(frozen=True, slots=True)
class Best:
    """The best value that was measured on held-out data, and after which step."""

    value: float
    step: int


@dataclass(frozen=True)
class Run:
    """A training run.

    name: how it is told from the others that are looked at. steps: how many it will have, None where it isn't known.
    series: by the flat names of `trackers.flatten`, such as "loss", "held_out/accuracy", "gates/layer_03". silent:
    seconds since the log was written to. notes: what could not be read.
    """

    folder: Path
    name: str
    kind: str | None
    command: str | None
    started: str | None
    steps: int | None
    settings: Mapping[str, Any]
    result: Mapping[str, Any] | None
    series: Mapping[str, Series]
    silent: float
    notes: tuple[str, ...]

    def get(self, name: str) -> Series:
        """Return a series; an empty one where nothing of the name was logged."""
        return self.series.get(name) or Series()

    @property
    def step(self) -> int:
        """The last step that was trained, 0 before the first."""
        steps = self.get("loss").steps
        return steps[-1] if steps else 0

    @property
    def state(self) -> State:
        """ "running" is a guess: the log was written to within the last two minutes, or ten of the slowest steps."""
        if self.result is not None:
            return "finished"
        slowest = max(self.get("seconds").values, default=0.0)
        return "running" if self.silent <= max(SILENT, 10 * slowest) else "stopped"

    @property
    def llm(self) -> str | None:
        """The language model as the settings name it."""
        name = self.settings.get("llm")
        return None if name is None else str(name)

    def best(self, measure: str) -> Best | None:
        """Return the best held-out "accuracy" or "rouge_l" (the highest) or "loss" (the lowest); of equals the
        first."""
        series = self.get(f"held_out/{measure}")
        if not series.steps:
            return None
        pick = min if measure == "loss" else max
        value = pick(series.values)
        return Best(value, series.steps[series.values.index(value)])

    @property
    def loss(self) -> float | None:
        """The training loss at the end: the mean of the last `LAST` steps."""
        return self.get("loss").mean(LAST)

    @property
    def seconds(self) -> float | None:
        """Seconds of training, over all sittings."""
        logged = (self.result or {}).get("seconds")
        if isinstance(logged, int | float):
            return float(logged)
        spent = self.get("seconds").values
        return sum(spent) if spent else None

    @property
    def tokens_per_second(self) -> float | None:
        """All tokens by all seconds where both were logged, else the mean of the steps' rates."""
        tokens, spent = self.get("tokens").values, self.get("seconds").values
        if tokens and len(tokens) == len(spent) and sum(spent) > 0:
            return sum(tokens) / sum(spent)
        return self.get("tokens_per_second").mean()


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Find all runs in and below some folders, by their names. A run is a folder with `run.json` and `metrics.jsonl`.

    Raises InputError for a folder that isn't there, or holds no run.
    """
    names: dict[Path, str] = {}
    for folder in folders:
        if not folder.is_dir():
            what = "a file" if folder.exists() else "nothing there"
            raise InputError(f"{folder}: found {what}; expected a folder with runs. Name the folder given as --out.")
        below = list(_below(folder))
        if not below:
            raise InputError(_no_run(folder))
        for path in below:
            inside = path.relative_to(folder)
            own = folder.resolve().name if inside == Path() else str(inside)
            several = len(folders) > 1 and inside != Path()
            names.setdefault(path.resolve(), str(folder / inside) if several else own)
    twice = len(set(names.values())) < len(names)
    return [read_run(path, str(path) if twice else name) for path, name in sorted(names.items())]


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read the run of a folder. What is missing or damaged is left out, and noted. Raises InputError without a log."""
    notes: list[str] = []
    record = _object(folder / RUN, notes) or {}
    result = _object(folder / RESULT, notes) if (folder / RESULT).exists() else None
    broken: list[int] = []
    series: dict[str, Series] = {}
    for row in read_metrics(folder / METRICS, broken):
        for key, value in flatten(row).items():
            if math.isfinite(value):
                series.setdefault(key, Series()).add(row["step"], value)
    if broken:
        few = ", ".join(map(str, broken[:3])) + (" ..." if len(broken) > 3 else "")
        notes.append(f"{folder / METRICS}: {len(broken)} lines are no rows of a log and were passed over (line {few})")
    steps = record.get("steps", (result or {}).get("steps"))
    settings = record.get("settings")
    return Run(
        folder=folder,
        name=name or folder.resolve().name,
        kind=_text(record.get("kind")),
        command=_text(record.get("command")),
        started=_text(record.get("started")),
        steps=steps if type(steps) is int else None,
        settings=settings if isinstance(settings, dict) else {},
        result=result,
        series=series,
        silent=max(0.0, time.time() - (folder / METRICS).stat().st_mtime),
        notes=tuple(notes),
    )


def differing(runs: Iterable[Run]) -> list[str]:
    """Return the settings that have two values or more among the runs that have them."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.settings.items():
            values.setdefault(key, set()).add(json.dumps(value, sort_keys=True, default=str))
    return [key for key, variants in values.items() if len(variants) > 1]


def layers(run: Run, name: str) -> dict[int, Series]:
    """Return the series of each layer of "gates" or "video_bias", by the layer's number."""
    start = f"{name}/layer_"
    by_number = {int(key[len(start) :]): series for key, series in run.series.items() if key.startswith(start)}
    return dict(sorted(by_number.items()))


def _below(folder: Path) -> Iterator[Path]:
    for place, inside, files in os.walk(folder):
        inside.sort()
        if RUN in files and METRICS in files:
            yield Path(place)


def _no_run(folder: Path) -> str:
    unfinished = sorted(path.parent for path in folder.rglob(RUN))
    if unfinished:
        contents = f"{unfinished[0] / RUN} without {METRICS} beside it: a run that hasn't begun to train"
    else:
        names = sorted(path.name for path in folder.iterdir())
        contents = f"{', '.join(names[:4])}{' ...' if len(names) > 4 else ''}" if names else "an empty folder"
    return (
        f"{folder}: found {contents}; expected at least one run, a folder with {RUN} and {METRICS}. "
        "Name the folder given as --out to topa align or topa finetune, or one above it."
    )


def _object(path: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"{path}: can't be read ({error})")
        return None
    if isinstance(value, dict):
        return value
    notes.append(f"{path}: found {type(value).__name__}; expected a JSON object")
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
