"""Verbs that answer: demo, ask, caption; and what makes answers better: adapt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.artifacts import output_folder
from ..core.command import typed
from ..core.errors import UsageError
from ..core.hub import locate_saved
from ..core.verbosity import hint, note
from ..inference.request import check_candidates, check_question, check_shiftable
from .app import Json, app
from .choices import ChoiceCommand, Choices
from .completion import any_of

if TYPE_CHECKING:
    from ..models.saved import SavedConfig


_WAYS = ("uniform", "question", "hierarchical")
_DEMO = Path("topa-demo")
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="An aligned model: a folder, or on the hub org/name or org/name@revision. Default: the micro model, which "
        "knows only the micro world.",
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
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = _DEMO,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, alignment and intervals.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run: small data, short alignment.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also the runs that train again, over three seeds: about ten times the work.")
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

    if serve:
        from ..serving.serve import expect_packages

        expect_packages()  # before minutes of work
    scale = Scale.quick() if quick else Scale.full() if full else Scale()
    if not (serve and finished(out, seed=seed, scale=scale)):
        flags = [*(["--seed", str(seed)] if seed else []), *(["--quick"] if quick else ["--full"] if full else [])]
        _run_demo(out, seed, scale, flags, as_json=as_json)
    if serve:
        from ..serving.serve import serve_demo
        from .serve import started

        serve_demo(out, seed, port, started=lambda address: started(address, show=True))


def _run_demo(out: Path, seed: int, scale: Any, flags: list[str], *, as_json: bool) -> None:
    from ..demo import run
    from ..evals.tables import report_table

    report, page = run(out, seed=seed, scale=scale)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    from rich.console import Console

    Console().print(report_table(report))
    counted = "; ".join(f"{name}: {number:,}" for name, number in report.parameters.items())
    typer.echo(f"parameters: {counted}")
    typer.echo(f"report: {page}")
    sample = report.samples[0]
    ask = typed("ask", page.parent / sample.video, sample.question, "--model", page.parent / f"model-{seed}")
    hint(f"next:   {ask}")
    hint(f"        {_to_serve(out, flags)}")


def _to_serve(out: Path, flags: list[str]) -> str:
    """The command that opens a page on a finished demo, whatever is installed. flags: those that the demo ran with."""
    from ..core.install import checkout_folder, install_line
    from ..serving.serve import missing_packages

    if checkout_folder() == Path.cwd() and Path("Makefile").is_file() and out == _DEMO and not flags:
        return "make serve"
    command = typed("demo", "--out", out, *flags, "--serve")
    return f"{install_line('serve')} && {command}" if missing_packages() else command


@app.command(
    cls=ChoiceCommand, epilog="Example:  topa ask clip.mp4 'what colour is the toy at the end ?' --choice red blue"
)
def ask(
    source: Annotated[Path, typer.Argument(help="A video file, or the folder of a library.", metavar="VIDEO|LIBRARY")],
    question: Annotated[str, typer.Argument(help="What you want to know.", metavar="QUESTION")],
    choice: Choices = None,
    model: Model = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            autocompletion=any_of("logits", "selection"),
            help="How options are compared: logits (their text) or selection (their letter). Default: the model's own.",
        ),
    ] = None,
    among: Among = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--frames-by",
            autocompletion=any_of(*_WAYS),
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
    check_question(question, choice or ())
    wanted: dict[str, Any] = {"protocol": protocol}
    if source.is_dir():
        _refuse("in a library", ("--among", among))
        if video is None:
            _refuse("in a library without --video", ("--frames-by", by))
        else:
            _refuse("with --video", ("--top", top))
        if video is not None:
            wanted |= {"video": video, "frame_selection": by or "uniform"}
        elif top is not None:
            wanted["top"] = top
        opened = _open(source)
        _warn(model)
        _print(opened.ask(question, choice or (), model=model, subtitles=subtitles, **wanted), as_json)
        return
    _refuse("of a video file", ("--video", video), ("--top", top))
    if by == "uniform":
        _refuse("with --frames-by uniform", ("--among", among))
    from ..features.subtitles import find_subtitles, read_subtitles

    _probe(source)
    beside = find_subtitles(source) if subtitles else None
    cues = () if beside is None else read_subtitles(beside)
    engine = _engine(source, model, among)
    frames: Any = source
    if by in ("question", "hierarchical"):
        from ..core.progress import bar
        from ..inference.projected_video import encode_whole_video

        with bar("watching", None, show=not as_json) as line:
            frames = encode_whole_video(engine, source, candidate_frames=among, progress=line.advance)
    wanted |= {"frame_selection": by, "candidate_frames": among, "subtitles": cues}
    answer = engine.ask(frames, question, choice or (), **wanted)
    if subtitles and beside is None:
        note(f"note: found no subtitles beside {source}")
    _print(answer, as_json)


@app.command(epilog="Example:  topa caption clip.mp4 --json")
def caption(video: Video, model: Model = None, among: Among = None, as_json: Json = False) -> None:
    """Describe a video in words."""
    engine = _engine(video, model, among)
    _print(engine.caption(video, candidate_frames=among), as_json)


@app.command(epilog="Example:  topa adapt camera3/*.mp4 --model kitchen-model --out kitchen-model-camera3")
def adapt(
    videos: Annotated[list[Path], typer.Argument(help="Videos of one camera, 30 or more.", metavar="VIDEO...")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the adapted model.")],
    model: Model = None,
) -> None:
    """Adapt a model to a camera: remove what all its pictures share, such as darkness. No labels are needed."""
    from ..inference.engine import FILES
    from ..memory.shift import MIN_VIDEOS, too_few_videos

    for video in videos:
        _probe(video)
    if len(videos) < MIN_VIDEOS:
        raise too_few_videos(len(videos))
    if model is not None:
        check_shiftable(_config(model).bridge)
    output_folder(out, *FILES)
    engine = _load(model)
    engine.adapt(videos)
    engine.save_pretrained(out)
    hint(f"next:   {typed('ask', videos[0], 'QUESTION', '--model', out)}")


@app.command(hidden=True)
def accustom(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...")],
    out: Annotated[Path, typer.Option("--out")],
    model: Model = None,
) -> None:
    """Run `topa adapt` under its old name."""
    note("warning: accustom is now called adapt; the old name goes with the next release")
    adapt(videos, out, model)


def _probe(video: Path) -> None:
    """An unreadable file is answered at once, before any model is loaded or made."""
    from ..features.video import probe

    probe(video)


def _engine(video: Path, model: str | None, among: int | None = None) -> Any:
    if model is not None:
        locate_saved(model)  # a wrong name and an unreadable file are answered before anything is loaded or made
    _probe(video)
    if model is not None and among is not None:
        check_candidates(video, among, _config(model).frames)
    return _load(model)


def _config(model: str) -> SavedConfig:
    from ..models.saved import fetch, read_config

    return read_config(fetch(model))


def _load(model: str | None) -> Any:
    from ..training.pretrained import load

    _warn(model)
    return load(model)


def _warn(model: str | None) -> None:
    if model is None:
        note("the micro model knows only the micro world; give --model DIR for your own videos")


def _open(library: Path) -> Any:
    from ..library.library import Library

    return Library.open(library)


def _refuse(where: str, *given: tuple[str, Any]) -> None:
    for name, value in given:
        if value is not None:
            raise UsageError(f"{name}: means nothing {where}. Leave it out, and see: topa ask --help")


def _print(answer: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_json(), indent=1))
        return
    for warning in answer.warnings:
        note(f"note: {warning}")
    typer.echo(answer.text)
    for option, probability in zip(answer.options, answer.probabilities, strict=True):
        typer.echo(f"  {probability:6.1%}  {option}")
    for part in answer.parts:
        where = f"{part.video} " if part.video else ""
        typer.echo(f"  {part.share:6.1%}  {where}{part.start:.2f} to {part.end:.2f} s: {part.text}")
    for frame in answer.evidence:
        typer.echo(f"  {frame.time:6.2f} s  read as: {frame.captions[0]}")
