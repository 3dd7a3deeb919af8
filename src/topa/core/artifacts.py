"""Artifacts: output folders that describe how they were made.

Every stage writes a folder whose `manifest.json` is written last and atomically; a folder without one is unfinished,
and no reader uses it. Files that topa didn't write are never touched: a file is replaced or removed only if the record
of its folder names it and its content is unchanged (`expect_ours`). No other module writes or removes files.
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
    """The description of an artifact and its origin.

    encoder: name of the CLIP-like model that made the features, None without features. width: D of its space.
    parents: role to the hash of the parent artifact. files: file name to SHA-256.
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
        """Hash of everything but `versions`: equal artifacts have equal hashes on every machine."""
        body = self.model_dump(exclude={"versions"})
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def expect_ours(path: Path) -> None:
    """Check that topa may replace or remove a file: it doesn't exist, or topa wrote it and nobody has changed it since.

    Everything that topa writes is checked here. Raises OutputError that names the file. A file whose size, mtime and
    inode match the record isn't hashed again; symbolic links are always refused.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):  # a folder that can't be made is reported by `output_folder`
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISLNK(status.st_mode):
        raise _foreign(path, "a link")
    if stat.S_ISDIR(status.st_mode):
        raise _foreign(path, "a folder")
    if not stat.S_ISREG(status.st_mode):
        raise _foreign(path, "no ordinary file")
    if path.name == LOCK and not status.st_size:  # lock files aren't recorded; they are empty, so nothing can be lost
        return
    with _explained(path):
        versions = record_of(path.parent).versions(path.name)
        ours = any(version.fits(path, status) for version in versions)
    if not ours:
        raise _foreign(path, "a file that was changed since topa wrote it" if versions else "a file that isn't topa's")


def expect_all_ours(folder: Path) -> None:
    """Apply `expect_ours` to every file below a folder, before it is removed."""
    if folder.is_symlink():
        raise _foreign(folder, "a link")
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                expect_all_ours(path)
            elif path.name != RECORD:
                expect_ours(path)


def claim(path: Path, kind: str) -> None:
    """Record a file before it is written, for files that grow or that a library writes. kind: see `record.KINDS`.

    Raises OutputError as `expect_ours` does.
    """
    expect_ours(path)
    with _explained(path):
        record = record_of(path.parent)
        if all(version.kind != kind for version in record.versions(path.name)):
            record.add(path.name, RecordedFile(kind), sync=True)


def claim_database(path: Path) -> None:
    """Claim an SQLite database and its journal files."""
    claim(path, "database")
    for suffix in ("-wal", "-shm", "-journal"):
        claim(path.with_name(path.name + suffix), "beside a database")


@contextmanager
def atomic_file(path: Path, kind: str | None = None, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at `path` only if the block succeeds.

    The data go to a temporary file in the same folder, which is synced and renamed. kind: for files of gigabytes, see
    `record.KINDS`; all others are recorded with their hash. sync: False for many small files that can be made again.
    Raises OutputError if the folder can't be written or `path` exists and isn't topa's.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _explained(path):
        record = record_of(path.parent)
        first = not record.exists()
        record.add(temporary.name, RecordedFile("unfinished"))
        try:
            with temporary.open("xb+") as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            new_file = RecordedFile.of(temporary, kind)
            if not _same_content(path, new_file):
                expect_ours(path)
            elif any(version.sha256 == new_file.sha256 for version in record.versions(path.name)):
                temporary.unlink()  # the existing file already has this content
                return
            record.add(path.name, new_file, sync=sync)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            if first:
                record.remove_empty()
            raise


def write_atomically(path: Path, text: str | bytes, kind: str | None = None) -> None:
    """Write a file atomically. Arguments and errors are those of `atomic_file`."""
    with atomic_file(path, kind) as file:
        file.write(text.encode() if isinstance(text, str) else text)


def open_to_append(path: Path) -> BinaryIO:
    """Open a JSON Lines log for appending. Raises OSError, or OutputError if the file isn't topa's."""
    claim(path, "lines")
    return path.open("ab")


def link_file(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links.

    Raises OutputError if `target` exists and isn't topa's.
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
    """Remove a file if it exists. Raises OutputError if it isn't topa's."""
    expect_ours(path)
    with _explained(path):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # on a full disk the record keeps an entry too many, until the name is used again
        record_of(path.parent).discard(path.name)


def remove_folder(folder: Path) -> None:
    """Remove topa's files below a folder, and the folder itself if nothing else is left in it."""
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
    """Rename a folder. Raises OutputError if that fails."""
    with _explained(target):
        source.rename(target)


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files that killed processes left. The caller must hold the folder's lock."""
    record = record_of(folder)
    for name in record.names("unfinished"):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def output_folder(path: Path, *names: str) -> Path:
    """Make a folder for results and check, before hours of work, that it can be written.

    names: files that will be written into it, or glob patterns such as `videos/*.mp4`; existing ones must be topa's.
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


def _same_content(path: Path, new_file: RecordedFile) -> bool:
    """Whether the existing file already holds these bytes, so that replacing it loses nothing."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == new_file.size and sha256(path) == new_file.sha256


def _foreign(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path}: found {what}; expected nothing there, or what topa wrote itself. Nothing was changed. Move it away, "
        "or name another place with --out."
    )


def finish(
    folder: Path, manifest: Manifest, files: Iterable[str], known_hashes: Mapping[str, str] | None = None
) -> Manifest:
    """Hash the named files and write the manifest, which completes the artifact.

    known_hashes: hashes that another manifest already has, by file name.
    """
    hashes = dict(known_hashes or {})
    complete = manifest.model_copy(
        update={
            "files": {name: hashes.get(name) or sha256(folder / name) for name in sorted(files)},
            "versions": {"topa": own_version(), "python": platform.python_version(), **manifest.versions},
        }
    )
    write_atomically(folder / MANIFEST, complete.model_dump_json(indent=1) + "\n")
    return complete


def read_manifest(folder: Path, kind: str, *, verify: bool = False) -> Manifest:
    """Read the manifest of an artifact of a given kind. verify: also hash its files.

    Raises ArtifactError if there is none, it is of another kind or format version, or a file is missing or changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        problem = "a folder without manifest.json (unfinished or not ours)" if folder.is_dir() else "nothing there"
        raise ArtifactError(f"{folder}: found {problem}; expected a finished '{kind}' artifact. Run its stage again.")
    try:
        body = json.loads(path.read_bytes())
        # Check the version before the fields: another version may have other fields.
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
    """The installed version of topa."""
    return __version__
