"""Verbs that answer: demo, ask, caption; and what makes answers better: accustom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import UsageError
from .app import Json, app, quiet

_TABLE = 112  # columns that the demo's table needs
Model = Annotated[
    Path | None,
    typer.Option(
        "--model", help="Folder of an aligned model. Default: the micro model, which knows only the micro world."
    ),
]
Among = Annotated[
    int | None,
    typer.Option(
        "--among",
        help="Look at so many frames and read those that stand for the video's scenes. Default: evenly spread ones.",
    ),
]
Video = Annotated[Path, typer.Argument(help="A video file: anything FFmpeg reads.", metavar="VIDEO")]


@app.command(epilog="Example:  topa demo --out my-demo --seed 3")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("topa-demo"),
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, alignment and intervals.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run of under 40 s: small data, short alignment.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also the runs that train again, over three seeds; a quarter of an hour.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The whole method on the micro world: write Tideos, encode, align, answer questions about real mp4 files."""
    if quick and full:
        raise UsageError("demo: --quick and --full exclude each other. Give one of them.")
    from ..benchmarks.tables import table
    from ..demo import Scale, run

    quiet()
    report, page = run(out, seed=seed, scale=Scale.quick() if quick else Scale.full() if full else Scale())
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    from rich.console import Console

    console = Console()
    console.width = max(console.width, _TABLE)
    console.print(table(report))
    counted = "; ".join(f"{name}: {n:,}" for name, n in report.parameters.items() if isinstance(n, int))
    typer.echo(f"parameters: {counted}")
    typer.echo(f"report: {page}")
    typer.echo(f"next:   topa ask {page.parent / report.samples[0].video} '{report.samples[0].question}'")


@app.command(epilog="Example:  topa ask clip.mp4 'what colour is the toy at the end ?' --choice red --choice blue")
def ask(
    video: Video,
    question: Annotated[str, typer.Argument(help="What you want to know.", metavar="QUESTION")],
    choice: Annotated[list[str] | None, typer.Option("--choice", help="An option; give two or more, or none.")] = None,
    model: Model = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="How options are compared: logits (their text) or selection (their letter). Default: the model's own.",
        ),
    ] = None,
    among: Among = None,
    as_json: Json = False,
) -> None:
    """Answer a question about a video, freely or by choosing among options."""
    if protocol not in (None, "selection", "logits"):
        from ..core.registry import unknown

        raise unknown("protocol", protocol, ("selection", "logits"))
    engine = _engine(video, model)
    seen = video if among is None else engine.look(video, among=among)
    answer = engine.ask(seen, question, choice or (), protocol=protocol)
    _print(answer, as_json)


@app.command(epilog="Example:  topa caption clip.mp4 --json")
def caption(video: Video, model: Model = None, among: Among = None, as_json: Json = False) -> None:
    """Describe a video in words."""
    engine = _engine(video, model)
    _print(engine.caption(video if among is None else engine.look(video, among=among)), as_json)


@app.command(epilog="Example:  topa accustom camera3/*.mp4 --model kitchen-model --out kitchen-model-camera3")
def accustom(
    videos: Annotated[list[Path], typer.Argument(help="Videos of one camera, 30 or more.", metavar="VIDEO...")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the model that is used to them.")],
    model: Model = None,
) -> None:
    """Get a model used to a camera: takes away what all its pictures share, such as darkness. No labels are needed."""
    engine = _engine(videos[0], model)
    engine.accustom(videos)
    engine.save_pretrained(out)
    typer.echo(f"next:   topa ask {videos[0]} QUESTION --model {out}")


def _engine(video: Path, model: Path | None) -> Any:
    from ..features.video import probe

    probe(video)  # an unreadable file is answered at once, before any model is loaded or made
    from ..pipeline import load

    quiet()
    if model is None:
        typer.echo("the micro model knows only the micro world; give --model DIR for your own videos", err=True)
    return load(model)


def _print(answer: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_json(), indent=1))
        return
    for warning in answer.warnings:
        typer.echo(f"note: {warning}", err=True)
    typer.echo(answer.text)
    for option, probability in zip(answer.options, answer.probabilities, strict=True):
        typer.echo(f"  {probability:6.1%}  {option}")
    for frame in answer.evidence:
        typer.echo(f"  {frame.time:6.2f} s  read as: {frame.captions[0]}")
