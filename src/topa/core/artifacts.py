"""Artifacts: folders that say what made them.

Every stage writes a folder whose `manifest.json` is written last and atomically: a folder without one is
unfinished, and no reader touches it. What isn't ours stays: a file is replaced or removed only where the record of its
folder names it, and it is what was recorded (`expect_ours`). No other module writes or removes files.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from .errors import ArtifactError, OutputError
from .locks import LOCK
from .record import RECORD as RECORD
from .record import RecordedFile, record_of
from .record import sha256 as sha256

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


def expect_ours(path: Path) -> None:
    """Prove that topa may replace or remove a file: nothing is there, or what topa wrote and nobody has changed since.

    Everything that topa writes goes through this. Raises OutputError that names the file. A file whose size, time of
    change and inode are those of the record isn't read again; a link is never ours.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):  # a folder that can't be made is told by who makes it
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISLNK(found.st_mode):
        raise _foreign(path, "a link")
    if stat.S_ISDIR(found.st_mode):
        raise _foreign(path, "a folder")
    if not stat.S_ISREG(found.st_mode):
        raise _foreign(path, "no ordinary file")
    if path.name == LOCK and not found.st_size:  # locks aren't recorded: they are empty, so nothing can be lost
        return
    with _explained(path):
        versions = record_of(path.parent).versions(path.name)
        ours = any(version.fits(path, found) for version in versions)
    if not ours:
        raise _foreign(path, "a file that was changed since topa wrote it" if versions else "a file that isn't topa's")


def expect_all_ours(folder: Path) -> None:
    """`expect_ours` of everything below a folder, before it is removed."""
    if folder.is_symlink():
        raise _foreign(folder, "a link")
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                expect_all_ours(path)
            elif path.name != RECORD:
                expect_ours(path)


def claim(path: Path, kind: str) -> None:
    """Take a place for a file that grows, or that others write for us, such as a database. kind: see `record.KINDS`.

    Raises OutputError as `expect_ours` does.
    """
    expect_ours(path)
    with _explained(path):
        record = record_of(path.parent)
        if all(version.kind != kind for version in record.versions(path.name)):
            record.add(path.name, RecordedFile(kind), sync=True)


def claim_database(path: Path) -> None:
    """`claim` for SQLite: the file, and those that it keeps beside it."""
    claim(path, "database")
    for suffix in ("-wal", "-shm", "-journal"):
        claim(path.with_name(path.name + suffix), "beside a database")


@contextmanager
def atomic_file(path: Path, kind: str | None = None, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, piece by piece, that is there whole afterwards or, where something fails, not at all.

    It lies beside its place until it is synced and renamed. kind: of a file that holds gigabytes, see `record.KINDS`;
    every other is known by its hash. sync: False for many small files that can be made again.
    Raises OutputError where the folder can't be written, or something that isn't ours is in the way.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _explained(path):
        record = record_of(path.parent)
        first = not record.exists()
        record.add(beside.name, RecordedFile("unfinished"))
        try:
            with beside.open("xb+") as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            written = RecordedFile.of(beside, kind)
            if not _same_content(path, written):
                expect_ours(path)
            elif any(version.sha256 == written.sha256 for version in record.versions(path.name)):
                beside.unlink()  # what is there stays as it is
                return
            record.add(path.name, written, sync=sync)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            if first:
                record.remove_empty()
            raise


def write_atomically(path: Path, text: str | bytes, kind: str | None = None) -> None:
    """Write a whole file or nothing. Arguments and errors are those of `atomic_file`."""
    with atomic_file(path, kind) as file:
        file.write(text.encode() if isinstance(text, str) else text)


def open_to_append(path: Path) -> BinaryIO:
    """Open a log, to which lines of JSON are added. Raises OSError, and OutputError where it isn't ours."""
    claim(path, "lines")
    return path.open("ab")


def link_file(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system can't: it may have gigabytes.

    Raises OutputError where something that isn't ours is in the way.
    """
    remove(target)
    with _explained(target):
        kind = next((version.kind for version in record_of(source.parent).versions(source.name)), None)
        record_of(target.parent).add(target.name, RecordedFile.of(source, kind), sync=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a file of ours, where there is one. Raises OutputError where it isn't ours."""
    expect_ours(path)
    with _explained(path):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # on a full disk the record says more than is there, until the name is used again
        record_of(path.parent).discard(path.name)


def remove_folder(folder: Path) -> None:
    """Remove what is ours below a folder, and the folder where nothing else is in it; what isn't ours stays."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        elif path.name != RECORD:
            with suppress(OutputError):
                remove(path)
    if {path.name for path in folder.iterdir()} <= {RECORD}:
        (folder / RECORD).unlink(missing_ok=True)
        folder.rmdir()


def move_folder(source: Path, target: Path) -> None:
    """Give a folder of ours another name, where nothing is. Raises OutputError."""
    with _explained(target):
        source.rename(target)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes were writing beside its place. Only for whoever has the folder alone."""
    record = record_of(folder)
    for name in record.names("unfinished"):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def output_folder(path: Path, *names: str) -> Path:
    """Make a folder for results, and prove before hours of work are spent that it can be written.

    names: files that will be written into it, or patterns such as `videos/*.mp4`: what is there already must be ours.
    Raises OutputError with the reason.
    """
    for name in names:
        for there in sorted(path.glob(name)) if "*" in name else [path / name]:
            if there.name != RECORD:
                expect_ours(there)
    folders = {str(Path(name).parent) for name in names} - {"."}
    for folder in [path, *(there for name in sorted(folders) for there in path.glob(name) if there.is_dir())]:
        with _explained(folder):
            record_of(folder).versions("")
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


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: can't be written ({error.strerror}). Name another folder with --out.")


def _same_content(path: Path, written: RecordedFile) -> bool:
    """Whether the file that is there holds these bytes already: replacing it loses nothing."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == written.size and sha256(path) == written.sha256


def _foreign(path: Path, found: str) -> OutputError:
    return OutputError(
        f"{path}: found {found}; expected nothing there, or what topa wrote itself. Nothing was changed. Move it away, "
        "or name another place with --out."
    )


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
