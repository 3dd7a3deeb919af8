"""Verbs that train: align."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.command import command_line, typed
from ..core.errors import UsageError
from ..core.verbosity import hint
from .app import Json, app
from .completion import recipes

if TYPE_CHECKING:
    from ..training.estimate import RunCost


DEFAULT_RECIPE = "microworld"


@app.command(
    epilog="Example:  topa align --recipe microworld --out my-model --set epochs=2\n\n"
    "On two GPUs:  topa align --recipe llama2-7b --tideos textvid --features features --processes 2 --out topa-7b"
)
def align(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run and the model; the same command again resumes.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Name of a recipe, or a TOML file. Needed with --tideos; without, the micro world's toy models are "
            "trained on its own Tideos.",
            autocompletion=recipes,
        ),
    ] = None,
    tideos: Annotated[
        Path | None,
        typer.Option("--tideos", help="Tideos as JSON Lines, or a set of topa generate, instead of the recipe's."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Where topa encode has put the Tideos' features, or they go.")
    ] = None,
    llm: Annotated[
        str | None, typer.Option("--llm", help="The frozen language model, instead of the recipe's.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, changes the recipe.")] = None,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", help="tensorboard, wandb (offline) or trackio, beside metrics.jsonl; repeatable."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            help="Start so many on this machine, one for each GPU. On several machines: torchrun or accelerate launch "
            "-m topa.cli align ...",
            min=1,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load no weights: print what would train, memory, steps and tokens.")
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on with a run whose settings were others.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Teach a frozen language model to read text features: pre-alignment, on text only."""
    from ..training.config import described_recipes, read_recipe

    if recipe is None and tideos is not None:
        raise UsageError(
            f"align: found --tideos and no --recipe; expected both, as a recipe says which language model learns to "
            f"read them, and how. There are: {described_recipes()}; or a TOML file of your own. Expected: "
            f"{command_line('align', '--recipe', 'RECIPE', '--tideos', tideos, '--out', out)}"
        )
    changes = [*(settings or []), *([] if llm is None else [f"llm={llm}"])]
    config = read_recipe(recipe or DEFAULT_RECIPE, changes)
    if dry_run:
        from ..training.align import plan

        say_plan(plan(config, tideos=tideos, processes=processes or 1), as_json)
        return
    from ..core.processes import launch, started_by_launcher

    if processes is not None and processes > 1 and not started_by_launcher():
        launch(processes, sys.argv[1:])
    from ..core.processes import is_first
    from ..training.align import align as run
    from ..training.loop import Watch

    watch = Watch(trackers=tuple(track or ()))
    result = run(config, out, tideos=tideos, features=features, watch=watch, accept_changes=accept_changes)
    if not is_first():
        return
    if as_json:
        typer.echo(json.dumps(result.as_json()))
        return
    accuracy = "" if result.accuracy is None else f", right on held-out Tideos {result.accuracy:.3f}"
    typer.echo(f"aligned: {out} ({result.steps} steps, {result.seconds:.0f} s, loss {result.loss:.3f}{accuracy})")
    hint(f"look:    {typed('runs', out, '--out', out / 'report')}")
    hint(f"next:    {typed('ask', 'VIDEO', 'QUESTION', '--model', out)}")


def say_plan(found: RunCost, as_json: bool) -> None:
    """Print what a run would take."""
    from ..core.formatting import rough_duration
    from ..training.estimate import measure_speed

    device, speed = measure_speed(found)
    if as_json:
        typer.echo(json.dumps({**found.as_json(), "device": device, "operations_per_second": speed}))
        return
    total = sum(found.trainable.values())
    typer.echo(f"trains:  {total:,} numbers ({', '.join(f'{k} {v:,}' for k, v in found.trainable.items())})")
    typer.echo(f"frozen:  {found.frozen:,}")
    typer.echo(
        f"memory:  {_size(found.bytes)} a process: frozen {_size(found.frozen_bytes)}, adapter with optimiser "
        f"{_size(found.adapter_bytes)}, activations {_size(found.activation_bytes)}, logits {_size(found.logit_bytes)}"
    )
    left_out = f", {found.left_out:.1%} of the samples too long" if found.left_out else ""
    typer.echo(
        f"steps:   {found.steps:,} over {found.samples:,} samples, {found.passes:.1f} passes each; longest prompt "
        f"{found.longest} tokens{left_out}"
    )
    hours = found.flop / 1e14 / 3600
    typer.echo(f"tokens:  {found.tokens:,}; {found.flop:.1e} operations, {hours:,.1f} h at 100 TFLOP/s")
    here = f"this {device} reaches {speed / 1e12:.2g} TFLOP/s in products of its size, measured just now"
    typer.echo(f"here:    {rough_duration(found.flop / speed)} or more; {here}")


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"
