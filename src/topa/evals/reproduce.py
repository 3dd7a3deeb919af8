"""The verb `reproduce`: the numbers of a source's tables beside ours.

Reads a recipe (`evals.recipe`), evaluates what it names, once for rows that share a run, and leaves a table.
Where data or a model isn't at hand, a row says so and the others go on. Running it again goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.artifacts import output_folder, write_atomically
from ..core.errors import InputError, TopaError, UsageError
from ..core.progress import console
from ..microworld.writer import make_videos
from ..models import saved
from ..training.align import align
from ..training.config import read_recipe as read_training
from ..training.finetune import configuration, finetune
from ..training.labelled import LabelledVideos
from ..training.loop import Watch
from ..training.pretrained import default_model
from .evaluate import Evaluation, evaluate
from .metrics import IntervalEstimate
from .recipe import MICRO, Finetune, Recipe, RecipeRow, read_recipe
from .report import MODEL, EvaluationReport

RESULT = "reproduced.json"
TABLE = "reproduced.md"
_LABELLED_SEED = 5
Verdict = Literal["within", "above", "below", "not stated", "no data", "no model", "not computed", "failed"]


@dataclass(frozen=True, slots=True)
class ReproducedRow:
    """A row with ours beside it. ours, low, high: in the row's units, with the 95 % interval; None where there is none.
    verdict: whether it is as far from what was expected as the tolerance allows. why: what is missing. out: of its
    evaluation."""

    row: RecipeRow
    verdict: Verdict
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""
    out: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "row": self.row.model_dump(mode="json")}


def reproduce(
    name: str,
    out: Path,
    *,
    data: Path | None = None,
    models: Path | None = None,
    tables: Sequence[str] = (),
    limit: int | None = None,
    show: bool = True,
) -> list[ReproducedRow]:
    """Run a recipe into `out`; gives its rows in order.

    name: of a recipe that comes with topa, or a file. data, models: the folders that its paths start from. tables: only
    those. limit: records of each evaluation, for a first look.
    Raises what `read_recipe` raises, UsageError for an unknown table, OutputError where `out` can't be written.
    """
    recipe = read_recipe(name)
    wanted = [row for row in recipe.row if not tables or row.table in tables]
    if strange := set(tables) - {row.table for row in recipe.row}:
        known = ", ".join(dict.fromkeys(repr(row.table) for row in recipe.row))
        raise UsageError(f"--table: found {min(strange)!r}; expected one of {known}.")
    place = _Places(recipe, output_folder(out, RESULT, TABLE), data, models, limit, show)
    # Rows that differ only in what they read off the report share a run; baselines are asked where any row wants one.
    baselines = {_key(row) for row in wanted if row.condition not in (MODEL, "chance", "longest")}
    reports: dict[str, EvaluationReport | _Missing] = {}
    found = []
    for row in wanted:
        key = _key(row)
        if key not in reports:
            if show:
                console.print(f"{row.table}: {row.name}", soft_wrap=True, markup=False, highlight=False)
            reports[key] = _report(row, place, baselines=key in baselines)
        found.append(_found(row, reports[key], str(place.out / key)))
    told = {"recipe": name, "title": recipe.title, "limit": limit, "rows": [one.as_json() for one in found]}
    write_atomically(out / RESULT, json.dumps(told, indent=1) + "\n")
    write_atomically(out / TABLE, markdown(recipe.title, found))
    return found


@dataclass(frozen=True, slots=True)
class _Places:
    """Where things are, and go."""

    recipe: Recipe
    out: Path
    data: Path | None
    models: Path | None
    limit: int | None
    show: bool


@dataclass(frozen=True, slots=True)
class _Missing:
    verdict: Verdict
    why: str


def _key(row: RecipeRow) -> str:
    """The folder of a row's evaluation."""
    told = [row.model, row.benchmark, row.split, row.protocol, row.permutations, row.frames, row.subtitles]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]
    return f"{row.benchmark}-{''.join(c if c.isalnum() or c in '-.' else '_' for c in row.model)}-{digest}"


def _report(row: RecipeRow, place: _Places, *, baselines: bool) -> EvaluationReport | _Missing:
    micro = row.benchmark.startswith("microworld")
    data = place.out / "data" if micro else None
    if not micro:
        if place.data is None:
            return _Missing("no data", "--data names no folder")
        data = place.data / place.recipe.data.get(row.benchmark, row.benchmark)
        if not data.is_dir():
            return _Missing("no data", f"{data} isn't there")
    try:
        model = _model(row.model, place)
        if isinstance(model, _Missing):
            return model
        asked = Evaluation(
            row.benchmark,
            place.out / _key(row),
            data,
            split=row.split,
            model=model,
            protocol=row.protocol,
            permutations=row.permutations,
            frames=row.frames,
            baselines=baselines,
            subtitles=row.subtitles,
            features=place.out / "features" / str(row.frames or "all") if micro else None,
            limit=place.limit,
        )
        done = evaluate(asked, show=place.show)
        if done is not None and done.failure is not None:
            raise done.failure
    except TopaError as error:
        return _Missing("failed", str(error))
    if done is None:
        return _Missing("failed", "another process has the report")
    return done.report


def _model(name: str, place: _Places) -> Path | _Missing:
    """The folder of a model, made where the recipe says how."""
    if name == MICRO:
        return default_model(show=place.show)
    described = place.recipe.models.get(name)
    if described is not None and (described.align or described.finetune):
        out = place.out / "models" / name
        if described.align is not None:
            if not (out / saved.CONFIG).is_file():
                align(read_training(described.align.recipe, described.align.settings), out, watch=Watch(place.show))
        elif described.finetune is not None:
            made = _tuned(described.finetune, out, place)
            if isinstance(made, _Missing):
                return made
        return out
    given = (described.path if described is not None else None) or name
    if place.models is None:
        return _Missing("no model", f"--models names no folder with {given}")
    folder = place.models / given
    return folder if (folder / saved.CONFIG).is_file() else _Missing("no model", f"{folder} isn't there")


def _tuned(described: Finetune, out: Path, place: _Places) -> _Missing | None:
    if (out / saved.CONFIG).is_file():
        return None
    base = _model(described.model, place)
    if isinstance(base, _Missing):
        return base
    if isinstance(described.data, int):
        folder = place.out / "labelled"
        file = folder / "questions.jsonl"
        if not file.is_file():
            make_videos(folder, described.data, _LABELLED_SEED, show=place.show)
        source = LabelledVideos(file, features=folder / "features")
    else:
        file = (place.data or Path()) / described.data
        if place.data is None or not file.is_file():
            return _Missing("no data", f"{file} isn't there")
        source = LabelledVideos(file, described.format)
    given: Mapping[str, Any] = {"bridge": described.bridge, "fraction": described.fraction}
    settings = [*described.settings, *(f"{key}={value}" for key, value in given.items() if value is not None)]
    config = configuration(base, described.recipe, settings, from_scratch=described.from_scratch)
    finetune(config, base, source, out, watch=Watch(place.show))
    return None


def _found(row: RecipeRow, report: EvaluationReport | _Missing, out: str) -> ReproducedRow:
    if isinstance(report, _Missing):
        return ReproducedRow(row, report.verdict, why=report.why)
    try:
        estimate = read_off(row, report)
    except InputError as error:
        return ReproducedRow(row, "not computed", why=str(error), out=out)
    ours = 100 * estimate.value
    verdict: Verdict = "not stated"
    if row.expected is not None:
        gap = ours - row.expected
        verdict = "within" if abs(gap) <= row.tolerance else "above" if gap > 0 else "below"
    return ReproducedRow(row, verdict, ours, 100 * estimate.low, 100 * estimate.high, out=out)


def read_off(row: RecipeRow, report: EvaluationReport) -> IntervalEstimate:
    """The number of a row in a report. Raises InputError where the report has none."""
    if row.part is not None:
        partition, _, part = row.part.partition(": ")
        if part not in report.breakdowns.get(partition, {}):
            raise InputError(f"{row.name}: the report has no {row.part!r}; expected one of its breakdowns.")
        return report.breakdowns[partition][part]
    name = row.score or report.scores[0].name
    if row.condition != MODEL and report.task != "caption":
        for condition in report.conditions:
            if condition.name == row.condition:
                return condition.accuracy
        raise InputError(f"{row.name}: the report has no condition {row.condition!r}; expected a baseline's name.")
    if row.condition != MODEL:
        name = f"{name}, {row.condition.replace('_', ' ')}"
    for score in report.scores:
        if score.name == name:
            if score.estimate is None:
                raise InputError(f"{row.name}: {name} was not computed: {score.note}")
            return score.estimate
    known = ", ".join(score.name for score in report.scores)
    raise InputError(f"{row.name}: the report has no score {name!r}; expected one of: {known}.")


def markdown(title: str, found: Sequence[ReproducedRow]) -> str:
    """All tables, ours beside the source's."""
    lines = [f"# {title}", ""]
    for table in dict.fromkeys(one.row.table for one in found):
        lines += [f"## {table}", "", "| | expected | ours | 95 % | |", "|---|---:|---:|---:|---|"]
        lines += [f"| {' | '.join(cells(one))} |" for one in found if one.row.table == table]
        lines.append("")
    return "\n".join(lines)


def cells(one: ReproducedRow) -> list[str]:
    """A row of a table: name, expected, ours, its interval, what to think of it."""
    expected = "–" if one.row.expected is None else f"{one.row.expected:g} ± {one.row.tolerance:g}"
    if one.ours is None:
        return [one.row.name, expected, "–", "–", one.verdict]
    return [one.row.name, expected, f"{one.ours:.1f}", f"{one.low:.1f}–{one.high:.1f}", one.verdict]
