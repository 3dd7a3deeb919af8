"""Verbs that train: align."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .app import Json, app, quiet


@app.command(epilog="Example:  topa align --recipe microworld --out my-model --set epochs=2")
def align(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run and the model; the same command again resumes.")
    ],
    recipe: Annotated[str, typer.Option("--recipe", help="Name of a recipe, or a TOML file.")] = "microworld",
    tideos: Annotated[
        Path | None, typer.Option("--tideos", help="Tideos as JSON Lines, instead of the recipe's.")
    ] = None,
    features: Annotated[Path | None, typer.Option("--features", help="Where the Tideos' features are, or go.")] = None,
    llm: Annotated[
        str | None, typer.Option("--llm", help="The frozen language model, instead of the recipe's.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, changes the recipe.")] = None,
    as_json: Json = False,
) -> None:
    """Teach a frozen language model to read text features: pre-alignment, on text only."""
    from ..training.config import read_recipe

    changes = [*(settings or []), *([] if llm is None else [f"llm={llm}"])]
    config = read_recipe(recipe, changes)
    from dataclasses import asdict

    from ..pipeline import align as run

    quiet()
    result = run(config, out, tideos=tideos, features=features)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
        return
    accuracy = "" if result.accuracy is None else f", right on held-out Tideos {result.accuracy:.3f}"
    typer.echo(f"aligned: {out} ({result.steps} steps, {result.seconds:.0f} s, loss {result.loss:.3f}{accuracy})")
    typer.echo(f"next:    topa ask VIDEO QUESTION --model {out}")
