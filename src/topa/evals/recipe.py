"""Recipes of published tables: which model on which data should give which number. TOML; `topa reproduce` runs them.

    title = "..."
    [models.NAME]        how to have a model: path, align or finetune; without any, the folder NAME below --models
    [data]               benchmark = the folder of its files below --data, the benchmark's name by default
    [[table]]            name, rows = [{...}, ...]: its numbers; defaults = {...}: keys that its rows have in common
    [[row]]              a number on its own; table = the name of its table

Read by `topa.evals.reproduce`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError, model_validator

from ..core.errors import InputError
from ..core.protocols import Protocol
from ..core.registry import unknown
from .schema import FrozenModel

RECIPES = Path(__file__).parent / "recipes"
MICRO = "micro"
"""The name of the model that comes with topa."""


class Align(FrozenModel):
    """A model that `topa align` makes. recipe: its name. settings: `key=value`."""

    recipe: str
    settings: tuple[str, ...] = ()


class Finetune(FrozenModel):
    """A model that `topa finetune` makes of another one. data: its labelled videos, below --data; of the micro world
    the number of videos to render."""

    model: str
    data: str | Annotated[int, Field(gt=0)]
    format: str = "jsonl"
    recipe: str | None = None
    bridge: Literal["raw", "projected"] | None = None
    fraction: float | None = None
    from_scratch: bool = False
    settings: tuple[str, ...] = ()


class RecipeModel(FrozenModel):
    """How to have a model. path: of its folder, below --models. align, finetune: what makes it, where there is none."""

    path: str | None = None
    align: Align | None = None
    finetune: Finetune | None = None


class RecipeRow(FrozenModel):
    """A number of a table.

    table, name: as in the source. model: a name of `Recipe.models`, or a folder below --models. benchmark, split,
    protocol, permutations, frames, subtitles: as `topa evaluate` takes them. condition: "model", or the baseline whose
    number it is. score: as the report names it; the benchmark's own by default. part: of a breakdown, such as "type:
    Action Sequence". expected, tolerance: as papers print them, accuracy in per cent, CIDEr-D times 100; None where the
    source's number isn't known here.
    """

    table: str
    name: str
    model: str
    benchmark: str
    split: str | None = None
    protocol: Protocol | None = None
    permutations: bool = False
    frames: int | None = None
    subtitles: bool = False
    condition: str = "model"
    score: str | None = None
    part: str | None = None
    expected: FiniteFloat | None = None
    tolerance: Annotated[float, Field(gt=0)] = 1.0


class RecipeTable(FrozenModel):
    """Numbers under one heading, each with the keys of a `RecipeRow`. defaults: for rows that lack them."""

    name: str
    defaults: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[dict[str, Any], ...]


class Recipe(FrozenModel):
    """Tables of one source. row: every number, those of `table` with their defaults."""

    title: str
    models: dict[str, RecipeModel] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    table: tuple[RecipeTable, ...] = ()
    row: Annotated[tuple[RecipeRow, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _make_rows(cls, body: dict[str, Any]) -> dict[str, Any]:
        tables = TypeAdapter(tuple[RecipeTable, ...]).validate_python(body.get("table", ()))
        rows = [{"table": table.name, **table.defaults, **row} for table in tables for row in table.rows]
        return {**body, "row": [*body.get("row", ()), *rows]}


def recipes() -> list[str]:
    """The names of the recipes that come with topa."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or of a file. Raises UsageError for an unknown name, InputError for a malformed file."""
    path = RECIPES / f"{name}.toml" if name in recipes() else Path(name)
    if not path.is_file():
        raise unknown("recipe of tables", name, recipes())
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}: {where}: {first['msg']}; expected the keys of `topa.evals.recipe`. Correct the file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: can't be read ({error}); expected TOML. Correct the file.") from error
