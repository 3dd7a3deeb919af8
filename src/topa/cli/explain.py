"""The verb that says why: explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.artifacts import output_folder
from ..core.command import command
from ..core.errors import UsageError
from ..core.verbosity import note
from ..inference.request import check_explained
from .app import Json, app
from .choices import ChoiceCommand, Choices
from .completion import any_of
from .use import Among, Model, _engine, _load, _probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from ..core.protocols import LikelihoodProtocol as Protocol
    from ..inference.explain import Explanation


@app.command(
    cls=ChoiceCommand, epilog="Example:  topa explain clip.mp4 'what colour is it ?' --choice red blue --out why"
)
def explain(
    source: Annotated[Path, typer.Argument(help="A video file, or the folder of a library.", metavar="VIDEO|LIBRARY")],
    question: Annotated[
        str | None, typer.Argument(help="What was asked. Default: explain the caption.", metavar="[QUESTION]")
    ] = None,
    choice: Choices = None,
    model: Model = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            autocompletion=any_of("logits", "selection"),
            help="How options are compared: logits or selection. Default: the model's own.",
        ),
    ] = None,
    among: Among = None,
    video: Annotated[
        Path | None, typer.Option("--video", help="Of a library: which of its videos; it isn't read but for pictures.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for explain.html, timeline.png and explain.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say why it answers so: what each frame was read as, what the answer loses without it, where it looked."""
    if protocol not in (None, "selection", "logits"):
        from ..core.registry import unknown

        raise unknown("protocol", protocol, ("selection", "logits"))
    way: Protocol | None = protocol  # type: ignore[assignment]  # checked above
    if source.is_dir() != (video is not None) or (source.is_dir() and among is not None):
        raise UsageError(
            f"explain {source}: found {'a folder' if source.is_dir() else 'a file'}; expected a video file, or a "
            "library with --video PATH and without --among."
        )
    from ..library.evidence import FILES, write_evidence

    check_explained(question, choice or ())
    if source.is_file():
        _probe(source)
    if out is not None:
        output_folder(out, *FILES)
    images: Sequence[Image]
    if video is not None:
        from ..library.evidence import explain_indexed
        from ..library.library import Library, expect_encoder
        from ..library.requests import find

        contents = Library.open(source).contents
        own = find(contents, video)
        expect_encoder(contents, model)
        found, images = explain_indexed(contents, own, _load(model), question, choice or (), protocol=way)
        name = own.path
    else:
        engine = _engine(source, model, among)
        selection = "uniform" if among is None else "scenes"
        inputs = engine.encode_video(source, frame_selection=selection, candidate_frames=among)
        found, images = engine.explain(inputs, question, choice or (), protocol=way), inputs.images
        name = source.name
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
    else:
        _print(found)
    if out is not None:
        page, missing = write_evidence(found, images, out, video=name, command=command())
        if missing:
            note(f"note: no timeline.png: {missing}")
        typer.echo(f"page: {page}", err=as_json)


def _print(found: Explanation) -> None:
    for warning in found.warnings:
        note(f"note: {warning}")
    typer.echo(found.text)
    for option, probability in zip(found.options, found.probabilities, strict=True):
        typer.echo(f"  {probability:6.1%}  {option}")
    typer.echo(f"score: {found.score:.3f}, without any frame {found.blind:.3f}: {found.measure}")
    typer.echo("     frame   support  attention  read as")
    for number, frame in enumerate(found.frames):
        mark = "*" if number == found.strongest else " "
        name = f"{number + 1}" if frame.time is None else f"{frame.time:.2f} s"
        read = frame.captions[0] if frame.captions else ""
        other = ""
        if frame.choice is not None and frame.choice != found.choice:
            other = f"  [without it: {found.options[frame.choice]}]"
        typer.echo(f"{mark} {name:>8}  {frame.support:+8.3f}  {frame.attention:9.1%}  {read}{other}")
    if found.strongest is None:
        typer.echo("no single frame supports the answer: without any of them it is as likely, or more")
    else:
        typer.echo("* supports the answer most: the score falls most without it")
