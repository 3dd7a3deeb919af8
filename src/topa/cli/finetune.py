"""The verb that trains on labelled videos: finetune."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..core.command import typed
from ..core.verbosity import hint
from .app import Json, app
from .completion import any_of
from .train import say_plan


@app.command(epilog="Example:  topa finetune --model my-model --data questions.jsonl --out my-tuned --fraction 0.1")
def finetune(
    model: Annotated[
        str, typer.Option("--model", help="A pre-aligned model: a folder, or on the hub org/name or org/name@revision.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Questions about videos, with answers.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run and the model; the same command again resumes.")
    ],
    videos: Annotated[
        Path | None, typer.Option("--videos", help="Folder that the videos' paths start from. Default: the data's.")
    ] = None,
    data_format: Annotated[
        str,
        typer.Option(
            "--format",
            autocompletion=any_of("jsonl", "nextqa", "star", "tvqa"),
            help="jsonl (your own), nextqa, star, or tvqa, as published.",
        ),
    ] = "jsonl",
    features: Annotated[
        Path | None, typer.Option("--features", help="Where the videos' features are, or go. Default: OUT/features.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Name of a recipe for fine-tuning, or a TOML file.")
    ] = None,
    bridge: Annotated[
        Literal["raw", "projected"] | None,
        typer.Option("--bridge", help="Pictures as they are (raw, the default), or through the model's memory."),
    ] = None,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Share of the training videos; smaller ones are part of larger.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Without pre-alignment: the same adapter from a random start.")
    ] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, changes the recipe.")] = None,
    workers: Annotated[int, typer.Option("--workers", help="Videos decoded at the same time.", min=1)] = 1,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", help="tensorboard, wandb (offline) or trackio, beside metrics.jsonl; repeatable."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Start so many on this machine, one for each GPU.", min=1)
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on with a run whose settings were others.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Train an aligned model further, on questions about real videos."""
    from ..core.processes import is_first, launch, started_by_launcher
    from ..training.finetune import configuration, plan
    from ..training.finetune import finetune as run
    from ..training.labelled import LabelledVideos
    from ..training.loop import Watch

    given = {"bridge": bridge, "fraction": fraction}
    changes = [*(settings or []), *(f"{key}={value}" for key, value in given.items() if value is not None)]
    config = configuration(model, recipe, changes, from_scratch=from_scratch)
    source = LabelledVideos(data, data_format, videos, features)
    if dry_run:
        planned = plan(config, model, source, out, processes=processes or 1)
        if as_json:
            typer.echo(json.dumps(planned.as_json()))
            return
        typer.echo(
            f"data:    {planned.questions:,} questions about {planned.videos:,} videos; held out "
            f"{planned.held_out_questions:,} about {planned.held_out_videos:,}; {planned.to_encode:,} clips to encode"
        )
        for reason, number in planned.left_out.items():
            typer.echo(f"left out: {number:,}: {reason}")
        say_plan(planned.cost, as_json)
        return
    if processes is not None and processes > 1 and not started_by_launcher():
        launch(processes, sys.argv[1:])
    watch = Watch(trackers=tuple(track or ()))
    result = run(config, model, source, out, workers=workers, watch=watch, accept_changes=accept_changes)
    if not is_first():
        return
    if as_json:
        typer.echo(json.dumps(result.as_json()))
        return
    training = result.training
    accuracy = "" if training.accuracy is None else f", right on held-out videos {training.accuracy:.3f}"
    typer.echo(
        f"fine-tuned: {out} ({result.questions:,} questions about {result.videos:,} videos, {training.steps} steps, "
        f"{training.seconds:.0f} s, loss {training.loss:.3f}{accuracy})"
    )
    hint(f"look:       {typed('runs', out, '--out', out / 'report')}")
    hint(f"next:       {typed('ask', 'VIDEO', 'QUESTION', '--model', out)}")
