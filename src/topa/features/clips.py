"""Which videos are meant: files, folders, lists and tables become clips with ids.

Reads paths from the user for `encode`; no video is opened here.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError

_CONTAINERS = "3gp asf avi divx f4v flv m2ts m4v mjpeg mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv"
SUFFIXES = frozenset(f".{name}" for name in _CONTAINERS.split())
"""What counts as a video in a folder; a file that is named itself may have any."""
_COLUMNS = ("path", "video")


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, or a part of it. id: the path as it was given, or as a table says. path: absolute. start, end: seconds
    after its first frame; None for the whole video. fps: where the path is a folder of numbered pictures, how many of
    them are a second; None for a video file."""

    id: str
    path: str
    start: float | None = None
    end: float | None = None
    fps: float | None = None


def name_below(folder: Path, video: Path) -> str:
    """Return the name of a video among those of a folder: its path below it."""
    inside = video.relative_to(folder) if video.is_relative_to(folder) else video
    return Path(os.path.normpath(inside)).as_posix()


def clip_below(
    folder: Path, video: Path, start: float | None = None, end: float | None = None, fps: float | None = None
) -> Clip:
    """Make a clip of a video in a folder, or of a part of it. The id is its path there, with `#1.5-8` for a part."""
    name = name_below(folder, video)
    if start is not None or end is not None:
        first, last = ("" if seconds is None else f"{seconds:.10g}" for seconds in (start, end))
        name = f"{name}#{first}-{last}"
    return Clip(name, str(video.absolute()), start, end, fps)


def find_clips(inputs: Sequence[Path], here: Path | None = None) -> list[Clip]:
    """Return all clips, in the order of the inputs; those of a folder and its subfolders by name.

    .txt: a path a line; .csv: a column path or video, and id, start, end where there are such. Their relative paths
    are looked up beside the list. here: the folder that the inputs are relative to, by default the working folder.
    Raises InputError where an input isn't there, holds no video or can't be
    understood, or an id comes twice.
    """
    clips: dict[str, Clip] = {}
    for path in inputs:
        before = len(clips)
        for clip, where in _clips(path, here or Path.cwd()):
            if clip.id in clips:
                raise InputError(
                    f"{where}: found {clip.id!r} twice; expected each once. Leave one of the two out, or give "
                    "ids in a CSV file with the columns path and id."
                )
            clips[clip.id] = clip
        if len(clips) == before:
            raise InputError(f"{path}: found no video in it; expected at least one. Name video files or their folder.")
    return list(clips.values())


def _clips(place: Path, here: Path) -> Iterator[tuple[Clip, str]]:
    """Yield the clips of one input, each with where it stands."""
    path = here / place
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                own = Path(folder, name)
                if own.suffix.lower() in SUFFIXES:
                    called = (place / own.relative_to(path)).as_posix()
                    yield Clip(called, str(own)), called
    elif not path.exists():
        raise InputError(f"{place}: found nothing there; expected videos, or a list of videos. Check the name.")
    elif path.suffix.lower() == ".txt":
        for number, line in enumerate(_read(path).split("\n"), start=1):
            if name := line.strip():
                yield Clip(name, _beside(path, name)), f"{place}:{number}"
    elif path.suffix.lower() == ".csv":
        yield from _rows(path)
    else:
        yield Clip(str(place), str(path)), str(place)


def _rows(path: Path) -> Iterator[tuple[Clip, str]]:
    table = csv.DictReader(io.StringIO(_read(path), newline=""))
    columns = [name for name in _COLUMNS if name in (table.fieldnames or ())]
    if not columns:
        raise InputError(
            f"{path}: found the columns {', '.join(table.fieldnames or ()) or 'of an empty file'}; expected path or "
            "video, and id, start, end where they are known. Name the columns in the first line."
        )
    for row in table:
        where = f"{path}:{table.line_num}"
        name = (row[columns[0]] or "").strip()
        if not name:
            raise InputError(f"{where}: found no {columns[0]}; expected that of a video. Mend or remove the line.")
        start, end = (_seconds(row.get(column), column, where) for column in ("start", "end"))
        yield Clip((row.get("id") or "").strip() or name, _beside(path, name), start, end), where


def _seconds(text: str | None, column: str, where: str) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where}: {column}: found {text!r}; expected seconds. Mend or remove the line.") from error


def _beside(path: Path, name: str) -> str:
    return str(path.parent / name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}). Expected a list of videos in UTF-8.") from error
