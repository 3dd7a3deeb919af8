"""Verbs that find: search in a library, when in one video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from ..core.verbosity import note
from ..inference.request import check_query
from .app import Json, app
from .completion import any_of

if TYPE_CHECKING:
    from ..library.contents import Contents, Moment
    from ..library.library import Library
    from ..library.search import Search
    from ..library.similarity import Similarity
    from ..memory.bank import MemoryBank

_RATE = 4.0  # frames a second of a video that no library holds
_MOST = 1000  # of them
_SIDE = 448  # pixels of their shorter side: encoders look at fewer
_TEMPERATURE = 0.01  # of the projection, for a memory without a model
Way = Annotated[
    str | None,
    typer.Option(
        "--similarity",
        autocompletion=any_of("raw", "centred", "projected"),
        help="How pictures and words are compared: raw (their cosine), centred (without each side's mean) or projected "
        "(through the memory); the latter two need --model. Default: raw.",
    ),
]
WithMemory = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model, or a memory, whose captions stand for words: a folder, or on the hub org/name or "
        "org/name@revision.",
    ),
]


@app.command(epilog='Example:  topa search kitchen-library "a red ball on the left" --top 5')
def search(
    library: Annotated[Path, typer.Argument(help="A library, from topa index.", metavar="LIB")],
    query: Annotated[str, typer.Argument(help="What the moments show.", metavar="QUERY")],
    top: Annotated[int, typer.Option("--top", help="How many moments.", min=1)] = 10,
    path: Annotated[str | None, typer.Option("--path", help='Only videos whose path matches: "camera3/*".')] = None,
    after: Annotated[float | None, typer.Option("--after", help="Only frames from this second of a video on.")] = None,
    before: Annotated[float | None, typer.Option("--before", help="Only frames up to this second.")] = None,
    similarity: Way = None,
    model: WithMemory = None,
    as_json: Json = False,
) -> None:
    """Find moments of a library by words: which video, from when to when, best first. Nothing is decoded."""
    check_query(query)
    opened = _open(library)
    from ..library.search import Filter

    where = Filter(path, after, before)
    finder = _finder(opened.contents, similarity, model)
    finder.videos(path)
    (found,) = finder.moments(opened.towers().encode_texts([query]), top, where)
    if as_json:
        typer.echo(json.dumps({"query": query, "moments": [as_dict(moment) for moment in found]}, indent=1))
        return
    if not found:
        note("no frame lies between these seconds")
    for moment in found:
        typer.echo(line(moment))


@app.command(epilog='Example:  topa when clip.mp4 "a red ball on the left"')
def when(
    video: Annotated[Path, typer.Argument(help="A video file, or a library with --path.", metavar="VIDEO|LIB")],
    query: Annotated[str, typer.Argument(help="What happens.", metavar="QUERY")],
    path: Annotated[
        str | None, typer.Option("--path", help="Of a library: the videos to look at. Default: all of them.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Intervals of a video.", min=1)] = 3,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Of a video file. Default: the one of --model, or microworld/clip."),
    ] = None,
    similarity: Way = None,
    model: WithMemory = None,
    as_json: Json = False,
) -> None:
    """Say when a video shows something: intervals with scores, best first."""
    check_query(query)
    if not video.is_dir():
        if path is not None:
            raise UsageError("--path: goes with a library. Leave it out.")
        found = _in_file(video, query, top, encoder, similarity, model)
    else:
        if encoder is not None:
            raise UsageError("--encoder: a library has its own. Leave it out.")
        opened = _open(video)
        finder = _finder(opened.contents, similarity, model)
        videos = finder.videos(path)
        words = opened.towers().encode_texts([query])[0]
        found = [moment for own in videos for moment in finder.when(own, words, top)]
    if as_json:
        typer.echo(json.dumps({"query": query, "moments": [as_dict(moment) for moment in found]}, indent=1))
        return
    for moment in found:
        typer.echo(line(moment))


def line(moment: Moment) -> str:
    """A moment for people."""
    return f"{moment.score:6.3f}  {moment.start:8.2f} to {moment.end:8.2f} s  {moment.video.path}"


def as_dict(moment: Moment) -> dict[str, Any]:
    """A moment for programs."""
    return {
        "video": moment.video.path,
        "start": moment.start,
        "end": moment.end,
        "score": moment.score,
        "frames": list(moment.frames),
    }


def _open(path: Path) -> Library:
    from ..library.library import Library

    return Library.open(path)


def _in_file(
    video: Path, query: str, top: int, encoder: str | None, similarity: str | None, model: str | None
) -> list[Moment]:
    """The moments of a video that no library holds."""
    from ..features.encode import towers
    from ..features.encode_video import encode_video
    from ..features.video import probe
    from ..library.contents import Video
    from ..library.search import moments_of
    from ..library.similarity import compare, expect_memory

    length = probe(video).duration_s
    count = max(1, min(_MOST, round(length * _RATE)))
    memory, told = _memory(model)
    if encoder is None and "encoder" not in told:
        note("the micro world's encoder knows only toys; give --encoder or --model for your own videos")
    expect_memory(way := _way(similarity), memory)
    both = towers(encoder or told.get("encoder") or "microworld/clip")
    features = encode_video(video, both, count, short_side=_SIDE).features
    comparison = compare(way, both.identity, features.values, memory, told.get("temperature", _TEMPERATURE))
    return moments_of(Video("", str(video), length, count), features, both.encode_texts([query])[0], top, comparison)


def _memory(model: str | None) -> tuple[MemoryBank | None, dict[str, Any]]:
    """The memory in a folder, and the configuration beside it where it is that of a model."""
    from ..memory.bank import MemoryBank
    from ..models.saved import fetch

    if model is None:
        return None, {}
    folder = fetch(model)
    memory = MemoryBank.load(folder)
    try:
        return memory, dict(json.loads((folder / "config.json").read_bytes()))
    except (OSError, ValueError):
        return memory, {}


def _way(similarity: str | None) -> Similarity:
    from ..core.registry import unknown
    from ..library.similarity import DEFAULT, SIMILARITIES

    for known in SIMILARITIES:
        if known == (similarity or DEFAULT):
            return known
    raise unknown("similarity", str(similarity), SIMILARITIES)


def _finder(contents: Contents, similarity: str | None, model: str | None) -> Search:
    from ..library.search import Search

    memory, told = _memory(model)
    return Search(contents, _way(similarity), memory, told.get("temperature", _TEMPERATURE))
