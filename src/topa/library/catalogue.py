"""The catalogue of a library: which files it knows, as what content, and which can't be used.

    LIB/manifest.json      what made it; written last
    LIB/catalogue.json     this; written whole or not at all, so that a kill leaves the one before
    LIB/features/part-N/   feature stores, one of each run that added videos

A file below the root is kept by its path from there, any other by its absolute path; both with slashes, on every
system. The root is the folder that the library lies in, so that a library that moves together with its videos stays
whole, and so does one whose videos stay where they are; or the folder that `topa index --root` named.
Nothing here needs torch: a look at what hasn't changed takes no longer than the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.artifacts import MANIFEST, Manifest, finish, read_manifest, write_atomically
from ..core.command import command_line
from ..core.errors import ArtifactError, ArtifactMismatch
from ..core.locks import LOCK

CATALOGUE, FEATURES, KIND = "catalogue.json", "features", "library"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What all features of a library have in common. encoder: its name, as it was given; identity: of its space.
    rate: frames a second; cap: of one video at most, evenly spread then. scenes: None for all of them; else only those
    that stand for a scene, where the cosine of neighbours is further than this from 1."""

    encoder: str
    identity: str
    rate: float = 1.0
    cap: int = 600
    scenes: float | None = None


@dataclass(slots=True)
class File:
    """A file as it was when it was last looked into. size, changed: see `fingerprint.State`. sample: of its bytes. id:
    of its content; None for one that can't be used, with the reason. gone: it isn't there any more; what is known of it
    is kept, in case it comes back."""

    size: int
    changed: int
    sample: str = ""
    id: str | None = None
    reason: str | None = None
    gone: bool = False


@dataclass(slots=True)
class Content:
    """What has features. duration: seconds. frames: that have a vector. part: the store that has them. truncated: it
    is cut or damaged, and used as far as it goes."""

    duration: float
    frames: int
    part: str
    truncated: bool = False


@dataclass(slots=True)
class Catalogue:
    """What a library knows. files: by their path, see above. contents: by their id. sources: what was given to index,
    paths and patterns as the files'. root: what paths are relative to, itself relative to the library where it holds
    it; None for the folder that the library lies in."""

    settings: IndexSettings
    files: dict[str, File] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    root: str | None = None

    def save(self, folder: Path) -> bool:
        """Write it, whole or not at all; whether it is another one than was there. Raises OutputError where the folder
        can't be written."""
        body: dict[str, Any] = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "sources": self.sources,
            "contents": {name: _plain(content) for name, content in sorted(self.contents.items())},
            "files": {name: _plain(file) for name, file in sorted(self.files.items())},
        }
        if self.root is not None:
            body["root"] = self.root
        path, text = folder / CATALOGUE, (json.dumps(body) + "\n").encode()
        if path.is_file() and path.read_bytes() == text:
            return False
        write_atomically(path, text)
        return True

    def finish(self, folder: Path, width: int) -> None:
        """Write the manifest of what was saved. width: of the features."""
        shown = [file for file in self.files.values() if file.id in self.contents and not file.gone]
        frames = sum(self.contents[file.id].frames for file in shown if file.id)
        finish(
            folder,
            Manifest(
                kind=KIND,
                encoder=self.settings.identity,
                width=width,
                normalised=True,
                counts={"videos": len(shown), "frames": frames},
                config=asdict(self.settings),
            ),
            [CATALOGUE],
        )


def read(folder: Path) -> Catalogue | None:
    """The catalogue in a folder; None for a folder that is empty, or not there.

    Raises ArtifactError where it is of another format version or can't be read, ArtifactMismatch for a folder of
    something else.
    """
    path = folder / CATALOGUE
    if not path.is_file():
        if folder.is_dir() and (others := sorted({one.name for one in folder.glob("[!.]*")} - {LOCK})):
            raise ArtifactMismatch(
                f"{folder}: found {others[0]!r} and no {CATALOGUE}; expected a library, or an empty folder for one. "
                "Name another one with --out."
            )
        return None
    try:
        body = json.loads(path.read_bytes())
        if (version := body["format"]) != FORMAT:
            raise ArtifactError(
                f"{path}: format version {version}; this topa reads {FORMAT}. Nothing was changed. Use the topa that "
                "wrote it, or index into another folder: topa index VIDEOS --out ANOTHER"
            )
        return Catalogue(
            IndexSettings(**body["settings"]),
            {name: File(**told) for name, told in body["files"].items()},
            {name: Content(**told) for name, told in body["contents"].items()},
            list(body["sources"]),
            body.get("root"),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path}: can't be read ({error}); expected a library's catalogue. Put a copy of it back, or index into "
            "another folder: topa index VIDEOS --out ANOTHER"
        ) from error


def read_finished(folder: Path) -> Catalogue:
    """The catalogue of a library that can be searched. Raises ArtifactError where there is none, or as `read` does."""
    found = read(folder)
    if found is None or not (folder / MANIFEST).is_file():
        raise ArtifactError(
            f"{folder}: found no finished library; expected one. Make or finish it: "
            f"{command_line('index', 'VIDEOS', '--out', folder)}"
        )
    read_manifest(folder, KIND)
    return found


def root(folder: Path, catalogue: Catalogue | None) -> str:
    """What the paths of a library's files are relative to, an absolute path."""
    noted = os.pardir if catalogue is None or catalogue.root is None else catalogue.root
    return os.path.normpath(os.path.join(os.path.abspath(folder), noted))


def noted_root(folder: Path, top: str) -> str | None:
    """A root as the catalogue notes it, see `Catalogue`. top: absolute."""
    library = os.path.abspath(folder)
    if os.path.dirname(library) == top:
        return None
    return _with_slashes(os.path.relpath(top, library) if is_below(library, top) else top)


def key(path: str, top: str) -> str:
    """The name of a file in the catalogue. path: absolute and normal. top: the root."""
    inside = path[len(os.path.join(top, "")) :] or os.curdir if is_below(path, top) else path
    return _with_slashes(inside)


def path_of(name: str, top: str) -> str:
    """The absolute path of a file, a folder or a pattern of the catalogue."""
    return os.path.normpath(os.path.join(top, name))


def is_below(path: str, top: str) -> bool:
    """Whether a path is that of a folder, or of what is in it. Both absolute and normal."""
    path, top = os.path.normcase(path), os.path.normcase(top)
    return path == top or path.startswith(os.path.join(top, ""))


def _with_slashes(path: str) -> str:
    return path if os.sep == "/" else path.replace(os.sep, "/")


def _plain(value: File | Content) -> Mapping[str, Any]:
    """Its fields, without those that say nothing."""
    told = ((name, getattr(value, name)) for name in value.__slots__)
    return {name: one for name, one in told if one not in (None, "") and one is not False}
