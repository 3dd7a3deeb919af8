"""A library whose videos are elsewhere now: its sources and files below another root.

Files are known again by their paths below the new root, or by what is in them; nothing is decoded.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..core.errors import InputError
from ..features.clips import SUFFIXES
from . import catalogue as kept
from .catalogue import Catalogue, File
from .fingerprint import sample


def relocate(catalogue: Catalogue, folder: Path, root: str) -> Catalogue:
    """The catalogue of the library in `folder`, with the sources and files that are below another root now.

    A source is looked for by ever shorter ends of its path, so that the root may be the folder that held the videos'
    folder, or the videos' folder itself. One that isn't below the root, and is where it was, stays there.
    Raises InputError where the root isn't a folder, or nothing of the library is below it.
    """
    if not os.path.isdir(root):
        raise InputError(f"{root}: found no folder; expected the one that the videos are in now. Check --root.")
    new, old = os.path.abspath(root), kept.root(folder, catalogue)
    bases = {split_pattern(kept.path_of(source, old))[0] for source in catalogue.sources}
    places = {base: _place(base, kept.key(base, old), _below(catalogue, base, old), new) for base in bases}
    if not any(places.values()):
        raise InputError(
            f"{new}: found no video of the library {folder} below it, neither by its path nor by its content; expected "
            f"the folder that they are in now, such as the one that holds {_example(catalogue)}. Nothing was changed."
        )

    def now(path: str) -> str:
        base = max((base for base in bases if kept.is_below(path, base)), key=len, default=None)
        place = None if base is None else places[base]
        return path if place is None else os.path.normpath(os.path.join(place, os.path.relpath(path, base)))

    files: dict[str, File] = {}
    for name, file in sorted(catalogue.files.items(), key=lambda item: item[1].gone):
        files.setdefault(kept.key(now(kept.path_of(name, old)), new), file)
    sources = [kept.key(now(kept.path_of(source, old)), new) for source in catalogue.sources]
    return replace(catalogue, files=files, sources=list(dict.fromkeys(sources)), root=kept.noted_root(folder, new))


def split_pattern(path: str) -> tuple[str, str]:
    """The folder or file that a source is about, and the pattern below it; no pattern for a path that has none, or
    that exists as it stands."""
    if os.path.lexists(path) or not glob.has_magic(path):
        return path, ""
    parts = Path(path).parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:first])), str(Path(*parts[first:]))


def _below(catalogue: Catalogue, base: str, old: str) -> dict[str, File]:
    """Usable files of a source by their paths from it, those that have gone, too."""
    paths = {kept.path_of(name, old): file for name, file in catalogue.files.items() if file.id}
    return {os.path.relpath(path, base): file for path, file in paths.items() if kept.is_below(path, base)}


def _place(base: str, name: str, files: dict[str, File], root: str) -> str | None:
    """Where a source is below a root; None where it isn't. base: where it was. name: of that, in the catalogue."""
    best, most = None, 0
    in_place = [base] if kept.is_below(base, root) else []
    for place in (*in_place, *_places(name, root)):
        number = sum(_size(os.path.normpath(os.path.join(place, path))) == file.size for path, file in files.items())
        if number > most:
            best, most = place, number
        if files and most == len(files):
            break
    if best is not None:
        return best
    if files:
        return _place_by_content(files, root)
    # A list of videos, or a folder without any: no content says that it is the same.
    named = (place for place in _places(name, root) if place != root and os.path.lexists(place))
    return None if os.path.lexists(base) else next(named, None)


def _places(name: str, root: str) -> Iterator[str]:
    path = Path(name)
    parts = path.parts[1:] if path.anchor else path.parts
    for start in range(len(parts) + 1):
        yield os.path.join(root, *parts[start:])


def _place_by_content(files: dict[str, File], root: str) -> str | None:
    """The folder below a root that holds what these files hold, whatever it is called there."""
    samples = {(file.size, file.sample) for file in files.values()}
    sizes = {size for size, _ in samples}
    folders = set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            size = _size(path) if os.path.splitext(name)[1].lower() in SUFFIXES else None
            with suppress(OSError):
                if size in sizes and size is not None and (size, sample(path, size)) in samples:
                    folders.add(folder)
    return os.path.commonpath(folders) if folders else None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _example(catalogue: Catalogue) -> str:
    return next((name for name, file in sorted(catalogue.files.items()) if file.id and not file.gone), "them")
