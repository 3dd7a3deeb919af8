"""Which files an index is about: folders, patterns, lists and tables become paths, with what is wrong with some.

Nothing is opened here but lists. Folders behind symbolic links are not entered, so that a loop of links ends nowhere;
links to files are followed.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import InputError
from ..features.clips import SUFFIXES, find_clips
from .fingerprint import State, state

_LISTS = frozenset({".txt", ".csv"})


@dataclass(slots=True)
class InputFiles:
    """files: by absolute path. bad: why a path can't be used. closed: folders that can't be listed; what is below one
    is not known."""

    files: dict[str, State] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)


def find(inputs: Sequence[str], known: Sequence[str] = ()) -> InputFiles:
    """All files of the inputs, absolute paths, each once and by name. known: inputs that were there once, and may have
    gone since.

    Raises InputError where an input isn't there or can't be understood, or names a part of a video.
    """
    found = InputFiles()
    paths: dict[str, None] = {}
    for given in [*inputs, *(path for path in known if glob.has_magic(path) or os.path.lexists(path))]:
        expanded = _expanded(given)
        if not expanded and given not in known:
            raise InputError(f"{given}: found no video of that pattern; expected at least one. Check the pattern.")
        for path in expanded:
            if os.path.isdir(path):
                _walk(path, paths, found)
            else:
                paths |= dict.fromkeys(_named(path))
    for path in sorted(paths):
        try:
            found.files[path] = state(path)
        except OSError as error:
            found.bad[path] = f"{path}: can't be read ({error.strerror}); expected a video file. Mend or remove it."
    return found


def _expanded(given: str) -> list[str]:
    """The paths behind a pattern; a path that is there is itself, whatever letters are in it."""
    if os.path.lexists(given) or not glob.has_magic(given):
        return [given]
    return sorted(path for path in glob.iglob(given, recursive=True) if _is_video(path))


def _is_video(path: str) -> bool:
    """By its name. What else a pattern matches doesn't count, nor do folders: they would be walked through twice."""
    return os.path.splitext(path)[1].lower() in SUFFIXES and not os.path.isdir(path)


def _walk(top: str, paths: dict[str, None], found: InputFiles) -> None:
    def closed(error: OSError) -> None:
        found.closed.append(error.filename)
        found.bad[error.filename] = (
            f"{error.filename}: can't be listed ({error.strerror}); expected a folder of videos. Change its mode."
        )

    for folder, folders, files in os.walk(top, onerror=closed):
        folders.sort()
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                paths[os.path.join(folder, name)] = None


def _named(path: str) -> list[str]:
    """A file that is named itself, or those of a list."""
    if os.path.lexists(path) and os.path.splitext(path)[1].lower() not in _LISTS:
        return [path]  # a link that leads nowhere is a bad file, told like the others
    clips = find_clips([Path(path)])
    if part := next((clip for clip in clips if clip.start is not None or clip.end is not None), None):
        raise InputError(
            f"{path}: found a part of {part.path} ({part.start} to {part.end} s); expected whole videos, as a library "
            "finds their moments itself. Leave the columns start and end out."
        )
    return [os.path.abspath(clip.path) for clip in clips]
