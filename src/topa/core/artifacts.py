"""Artifacts: folders that say what made them.

Every stage writes a folder whose `manifest.json` is written last and atomically: a folder without one is
unfinished, and no reader touches it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from .errors import ArtifactError, OutputError

MANIFEST = "manifest.json"
FORMAT = 1


class Manifest(BaseModel):
    """What an artifact is and where it comes from.

    `encoder` names the CLIP-like model whose space the features live in (None where there are none), `width` its
    D. `parents` maps a role to the parent's hash; `files` maps a file name to its SHA-256.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    kind: str
    encoder: str | None = None
    width: int | None = None
    normalised: bool | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    parents: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def hash(self) -> str:
        """A hash of everything that matters: equal artifacts have equal hashes, on any machine."""
        body = self.model_dump(exclude={"versions"})
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, piece by piece, that is there whole afterwards or, where something fails, not at all.

    It lies beside its place until it is synced and renamed. Raises OutputError where the folder can't be written.
    """
    try:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o644)
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror}). Name another folder with --out.") from error


def write_atomically(path: Path, text: str | bytes) -> None:
    """Write a whole file or nothing. Raises OutputError where the folder can't be written."""
    with atomic_file(path) as file:
        file.write(text.encode() if isinstance(text, str) else text)


def output_folder(path: Path) -> Path:
    """Make a folder for results, and prove that it can be written before hours of work are spent.

    Raises OutputError with the reason.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: can't be written ({error.strerror}). Expected a folder to put results in. "
            "Name another one with --out."
        ) from error
    return path


def finish(folder: Path, manifest: Manifest, files: Iterable[str], known: Mapping[str, str] | None = None) -> Manifest:
    """Hash the named files and write the manifest: the artifact is complete from here on.

    known: hashes of files that another manifest has.
    """
    hashes = dict(known or {})
    done = manifest.model_copy(
        update={
            "files": {name: hashes.get(name) or sha256(folder / name) for name in sorted(files)},
            "versions": {"topa": own_version(), "python": platform.python_version(), **manifest.versions},
        }
    )
    write_atomically(folder / MANIFEST, done.model_dump_json(indent=1) + "\n")
    return done


def read_manifest(folder: Path, kind: str, *, verify: bool = False) -> Manifest:
    """The manifest of an artifact of a given kind; with `verify`, its files are hashed too.

    Raises ArtifactError when there is none, when it is of another kind or version, or a file was changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        found = "a folder without manifest.json (unfinished or not ours)" if folder.is_dir() else "nothing there"
        raise ArtifactError(f"{folder}: found {found}; expected a finished '{kind}' artifact. Run its stage again.")
    try:
        body = json.loads(path.read_bytes())
        # First of all: a manifest of another version may have other fields.
        if isinstance(body, dict) and body.get("format", FORMAT) != FORMAT:
            raise ArtifactError(
                f"{path}: format version {body['format']}; this topa reads {FORMAT}. Run its stage again."
            )
        manifest = Manifest.model_validate(body)
    except ValueError as error:  # JSON's and pydantic's errors are ValueErrors
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ArtifactError(f"{path}: not a manifest of topa: {first}. Run the stage that made it again.") from error
    if manifest.kind != kind:
        raise ArtifactError(f"{folder}: holds '{manifest.kind}'; expected '{kind}'. Give another folder.")
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file() or (verify and sha256(file) != expected):
            state = "was changed after it was written" if file.is_file() else "is missing"
            raise ArtifactError(f"{file}: {state}. Run the stage that made it again.")
    return manifest


def own_version() -> str:
    """The version of the topa that runs."""
    return __version__
