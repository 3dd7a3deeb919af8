"""Verbs that answer: demo, ask, caption; and what makes answers better: accustom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import UsageError
from .app import Json, app, quiet

_WAYS = ("uniform", "question", "hierarchical")
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
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Then open a page on its model and its videos; at once where the demo is finished in --out."
        ),
    ] = False,
    port: Annotated[int, typer.Option("--port", help="Of --serve; 0 takes a free one.", min=0, max=65535)] = 8000,
    as_json: Json = False,
) -> None:
    """The whole method on the micro world: write Tideos, encode, align, answer questions about real mp4 files."""
    if quick and full:
        raise UsageError("demo: --quick and --full exclude each other. Give one of them.")
    if serve and as_json:
        raise UsageError("demo: --serve and --json exclude each other. Give one of them.")
    from ..demo import Scale, finished

    scale = Scale.quick() if quick else Scale.full() if full else Scale()
    quiet()
    if not (serve and finished(out, seed=seed, scale=scale)):
        _run_demo(out, seed, scale, as_json=as_json)
    if serve:
        from ..hosting import serve_demo
        from .serve import started

        serve_demo(out, seed, port, started=lambda address: started(address, show=True))


def _run_demo(out: Path, seed: int, scale: Any, *, as_json: bool) -> None:
    from ..benchmarks.tables import table
    from ..demo import run

    report, page = run(out, seed=seed, scale=scale)
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
    typer.echo(f"        topa demo --out {out} --serve")


@app.command(epilog="Example:  topa ask clip.mp4 'what colour is the toy at the end ?' --choice red --choice blue")
def ask(
    source: Annotated[Path, typer.Argument(help="A video file, or the folder of a library.", metavar="VIDEO|LIBRARY")],
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
    by: Annotated[
        str | None,
        typer.Option(
            "--frames-by",
            help="Frames of a long video are chosen: uniform, question (what is like it), or hierarchical (the same "
            "for segments, over each of which the model answers). Default: uniform.",
        ),
    ] = None,
    video: Annotated[
        Path | None, typer.Option("--video", help="Ask about this video of the library; it isn't decoded.")
    ] = None,
    top: Annotated[int | None, typer.Option("--top", help="Moments of the library that are read. Default: 4.")] = None,
    subtitles: Annotated[
        bool, typer.Option("--subtitles", help="Also read what is said then, from the .srt or .vtt beside the video.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Answer a question about a video, or over a library, freely or by choosing among options."""
    from ..core.registry import unknown

    if protocol not in (None, "selection", "logits"):
        raise unknown("protocol", protocol, ("selection", "logits"))
    if by not in (None, *_WAYS):
        raise unknown("way to choose frames", by, _WAYS)
    wanted: dict[str, Any] = {"protocol": protocol}
    if source.is_dir():
        _refuse("in a library", ("--among", among))
        if video is None:
            _refuse("in a library without --video", ("--frames-by", by))
        else:
            _refuse("with --video", ("--top", top))
        asking = _asking(source, model)
        if video is None:
            extra = {} if top is None else {"top": top}
            answer = asking.ask(question, choice or (), subtitles=subtitles, **extra, **wanted)
        else:
            way = by or "uniform"
            answer = asking.ask_video(video, question, choice or (), frames_by=way, subtitles=subtitles, **wanted)
        _print(answer, as_json)
        return
    _refuse("of a video file", ("--video", video), ("--top", top))
    if by == "uniform":
        _refuse("with --frames-by uniform", ("--among", among))
    engine = _engine(source, model)
    from ..features.subtitles import find_subtitles, read_subtitles, spoken

    beside = find_subtitles(source) if subtitles else None
    cues = () if beside is None else read_subtitles(beside)
    if by in (None, "uniform"):
        seen = engine.look(source, among=among)
        answer = engine.ask(seen, question, choice or (), said=spoken(cues, seen.times), **wanted)
    else:
        from ..core.progress import bar
        from ..inference.footage import frames_by, watch

        with bar("watching", None, show=not as_json) as line:
            footage = watch(engine, source, among=among, progress=line.advance)
        answer = footage.ask(question, choice or (), frames_by=frames_by(by), cues=cues, **wanted)
    if subtitles and beside is None:
        typer.echo(f"note: found no subtitles beside {source}", err=True)
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
    from ..core.artifacts import output_folder
    from ..inference.engine import FILES

    output_folder(out, *FILES)
    engine = _engine(videos[0], model)
    engine.accustom(videos)
    engine.save_pretrained(out)
    typer.echo(f"next:   topa ask {videos[0]} QUESTION --model {out}")


def _engine(video: Path, model: Path | None) -> Any:
    from ..features.video import probe

    probe(video)  # an unreadable file is answered at once, before any model is loaded or made
    return _load(model)


def _load(model: Path | None) -> Any:
    from ..pipeline import load

    quiet()
    if model is None:
        typer.echo("the micro model knows only the micro world; give --model DIR for your own videos", err=True)
    return load(model)


def _asking(library: Path, model: Path | None) -> Any:
    """Who answers from a library's features."""
    from ..libraries import Library

    opened = Library.open(library)
    return opened.asking(_load(model))


def _refuse(where: str, *given: tuple[str, Any]) -> None:
    for name, value in given:
        if value is not None:
            raise UsageError(f"{name}: means nothing {where}. Leave it out; see topa ask --help")


def _print(answer: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_json(), indent=1))
        return
    for warning in answer.warnings:
        typer.echo(f"note: {warning}", err=True)
    typer.echo(answer.text)
    for option, probability in zip(answer.options, answer.probabilities, strict=True):
        typer.echo(f"  {probability:6.1%}  {option}")
    for part in answer.parts:
        where = f"{part.video} " if part.video else ""
        typer.echo(f"  {part.share:6.1%}  {where}{part.start:.2f} to {part.end:.2f} s: {part.text}")
    for frame in answer.evidence:
        typer.echo(f"  {frame.time:6.2f} s  read as: {frame.captions[0]}")
