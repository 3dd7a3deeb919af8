"""The verb that makes a library of videos: index."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.command import typed
from ..core.formatting import rough_duration
from ..core.verbosity import hint, note
from .app import Json, app

if TYPE_CHECKING:
    from ..library.index import Wanted
    from ..library.outcome import IndexEstimate, IndexResult

_SHOWN = 10


@app.command(
    epilog="Example:  topa index camera1 'archive/**/*.mkv' --out footage --rate 0.5; after its videos were moved:  "
    "topa index --out footage --root /mnt/archive"
)
def index(
    out: Annotated[Path, typer.Option("--out", help="Folder of the library; given again, it is brought up to date.")],
    videos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Videos: files, folders with all below them, quoted patterns, .txt (a path a line), .csv (a column "
            "path or video). All that was named before is looked at again, too.",
            metavar="VIDEOS",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Folder or hub id of a CLIP-like model; microworld/clip. Default: the library's own, "
            "openai/clip-vit-large-patch14 for a new one.",
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Frames a second. Default: 1.")] = None,
    cap: Annotated[
        int | None, typer.Option("--cap", help="Frames of one video at most, spread evenly. Default: 600.", min=1)
    ] = None,
    scenes: Annotated[
        float | None,
        typer.Option(
            "--scenes",
            help="Of the frames, keep one a scene: a new one begins where neighbours' features are further apart than "
            "this, as 1 - cosine, such as 0.2. Default: keep all.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that decode. Default: one per core, 4 at most.", min=1),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            "--root",
            help="Folder that the videos are in now, after they or the library were moved. They are known again by "
            "their paths or by their content; nothing is decoded again.",
            metavar="DIR",
        ),
    ] = None,
    forget_missing: Annotated[
        bool,
        typer.Option(
            "--forget-missing",
            help="Let videos leave the library though a whole folder of them isn't there, or all are gone at once. "
            "Without it they are kept, as a disk may not be mounted.",
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for another process that is at work in the library.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, how long it takes and how much space. Try a few.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a library of videos that is searched and asked without decoding again; bring one up to date."""
    from ..library import library as libraries
    from ..library.index import Wanted

    wanted = Wanted(encoder, rate, cap, scenes, workers, wait, root, forget_missing)
    if dry_run:
        planned = libraries.estimate(videos or [], out, wanted)
        typer.echo(json.dumps(planned.as_json(), indent=1) if as_json else _planned(planned, videos or [], wanted))
        return
    result = libraries.make(videos or [], out, wanted)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=1))
        return
    _print(result)


def _print(result: IndexResult) -> None:
    for path, reason in list(result.bad.items())[:_SHOWN]:
        note(f"left out: {path}: {reason}")
    if result.bad:
        more = f" {len(result.bad) - _SHOWN:,} more: --json has all." if len(result.bad) > _SHOWN else ""
        note(f"note: {len(result.bad):,} files are left out until they change.{more}")
    if result.truncated:
        shown = ", ".join(result.truncated[:_SHOWN])
        note(f"note: {len(result.truncated):,} videos are damaged or cut, and used as far as they go: {shown}")
    for folder, number in result.absent.items():
        note(
            f"note: {folder} isn't there, or is empty: its {number:,} videos are kept in the library. If its disk "
            "isn't mounted, mount it; if they were moved, say where they are now with --root DIR; to take them out of "
            "the library: --forget-missing"
        )
    counts = {name: len(getattr(result, name)) for name in ("new", "changed", "moved", "returned", "copies", "gone")}
    told = [f"{number:,} {name}" for name, number in counts.items() if number]
    typer.echo(f"indexed: {', '.join([*told, f'{result.unchanged:,} unchanged'])}; {result.took:,.1f} s")
    typer.echo(
        f"library: {result.path} ({result.videos:,} videos, {result.seconds / 3600:,.2f} hours, {result.frames:,} "
        f"frames, {result.bytes / 1e6:,.1f} MB, {result.encoder})"
    )
    if result.videos:
        hint(f"next:    {typed('search', result.path, 'what you look for')}")


def _planned(planned: IndexEstimate, videos: list[str], wanted: Wanted) -> str:
    lines = [
        f"to do:     {planned.look:,} files to look into ({planned.bytes / 1e9:,.2f} GB), {planned.unchanged:,} "
        f"unchanged, {planned.gone:,} gone, {len(planned.bad):,} that can't be read",
    ]
    if planned.tried:
        lines.append(
            f"estimate:  {rough_duration(planned.seconds)}, {planned.frames:,} frames, {planned.space / 1e6:,.1f} MB "
            f"({planned.free / 1e9:,.1f} GB are free); told from {planned.tried:,} of them"
        )
    options = {
        f"--{name.replace('_', '-')}": value for name, value in asdict(wanted).items() if value not in (None, False)
    }
    given = [word for name, value in options.items() for word in ([name] if value is True else [name, value])]
    return "\n".join([*lines, f"next:      {typed('index', *videos, '--out', planned.path, *given)}"])
