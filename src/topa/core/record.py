"""The record of a folder: which of its files topa wrote.

A file is recorded before it is renamed to its place, so that a killed process leaves no unrecorded file. Lines are only
appended, each with one system call, so that processes can share a folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import OutputError
from .legacy import inherited_names

RECORD = ".topa-files"
_HEADER = {"topa": "files that topa wrote into this folder; what isn't named here is left alone", "format": 1}
_HEAD = 16  # bytes of a file that show its kind


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


KINDS: dict[str, Callable[[bytes], bool]] = {
    "arrays": lambda head: head[8:9] in (b"", b"{"),  # safetensors, possibly cut off
    "database": lambda head: head.startswith(b"SQLite format 3\0"),
    "lines": lambda head: head.startswith(b"{"),
    "beside a database": lambda head: True,
    "unfinished": lambda head: True,
}
"""Files recognised by their first bytes, since they grow or hold gigabytes. An empty file may be of any kind."""
_KIND_OF_SUFFIX = {".safetensors": "arrays", ".index": "arrays", ".jsonl": "lines", ".sqlite": "database"}


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One version of a file that topa wrote.

    kind: one of `KINDS`, or None for a file that is known by the `sha256` of its content; then `size`, `changed` (mtime
    in ns) and `number` (inode) show without reading it that the file is untouched.
    """

    kind: str | None = None
    sha256: str | None = None
    size: int | None = None
    changed: int | None = None
    number: int | None = None

    @classmethod
    def of(cls, path: Path, kind: str | None = None) -> RecordedFile:
        """Record the current state of a file."""
        if kind is not None:
            return cls(kind)
        status = path.stat()
        return cls(None, sha256(path), status.st_size, status.st_mtime_ns, status.st_ino)

    def fits(self, path: Path, status: os.stat_result) -> bool:
        """Whether a file is still this version. status: its `lstat`."""
        if self.kind is not None:
            with path.open("rb") as file:
                head = file.read(_HEAD)
            return not head or KINDS[self.kind](head)
        if (self.size, self.changed, self.number) == (status.st_size, status.st_mtime_ns, status.st_ino):
            return True
        return self.size in (None, status.st_size) and sha256(path) == self.sha256


class FolderRecord:
    """The record of one folder; lines that other processes append are read on the next access.

    Raises OutputError if topa didn't write the file of the record's name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / RECORD
        self._lock = threading.Lock()
        self._forget()

    def versions(self, name: str) -> tuple[RecordedFile, ...]:
        """Return the versions of a file, newest last; empty if topa didn't write it."""
        with self._lock:
            self._read()
            return tuple(self._files.get(name, ()))

    def names(self, kind: str) -> list[str]:
        """Return the names of the files of a kind."""
        with self._lock:
            self._read()
            return [name for name, files in self._files.items() if any(file.kind == kind for file in files)]

    def add(self, name: str, file: RecordedFile, *, sync: bool = False) -> None:
        """Record a file. sync: wait until the record is on the disk."""
        fields = {key: value for key, value in asdict(file).items() if value is not None}
        self._append({"name": name, **fields}, sync=sync)

    def discard(self, name: str) -> None:
        """Record that a file is gone; a new file of its name isn't topa's."""
        if self.versions(name):
            self._append({"name": name, "gone": True})

    def exists(self) -> bool:
        """Whether the record exists on the disk."""
        with self._lock:
            self._read()
            return self._there

    def remove_empty(self) -> None:
        """Remove the record from the disk if none of its files exists."""
        with self._lock:
            self._read()
            if self._there and not any((self.folder / name).exists() for name in self._files):
                self.path.unlink(missing_ok=True)

    def _append(self, entry: dict[str, object], *, sync: bool = False) -> None:
        with self._lock:
            self._read()
            lines = [entry]
            if not self._there:
                adopted = [{"name": name, **_plain(files[-1])} for name, files in self._files.items()]
                lines = [_HEADER, *adopted, entry]
            text = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o644)
            try:
                # Start a new line if a full disk cut off the last one.
                text = b"\n" + text if self._cut_off else text
                if os.write(handle, text) < len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)

    def _forget(self) -> None:
        self._files: dict[str, list[RecordedFile]] = {}
        self._end, self._number, self._there, self._cut_off = 0, -1, False, False

    def _read(self) -> None:
        """Read new lines. Without a record, adopt the files that an older topa's manifests name."""
        try:
            status = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            status = None
        if status is None or (stat.S_ISREG(status.st_mode) and not status.st_size):
            self._forget()
            self._files = {
                name: [RecordedFile(_KIND_OF_SUFFIX.get(Path(name).suffix), digest)]
                if digest
                else [RecordedFile.of(self.folder / name, _KIND_OF_SUFFIX.get(Path(name).suffix))]
                for name, digest in inherited_names(self.folder).items()
            }
            return
        if not stat.S_ISREG(status.st_mode):
            raise self._foreign()
        if not self._there or status.st_ino != self._number or status.st_size < self._end:
            self._forget()
            self._there, self._number = True, status.st_ino
        if status.st_size == self._end:
            return
        with self.path.open("rb") as file:
            file.seek(self._end)
            text = file.read()
        first = not self._end
        self._end += len(text)
        self._cut_off = not text.endswith(b"\n")
        for number, line in enumerate(text.splitlines()):
            if first and not number and not _is_header(line):
                self._forget()
                raise self._foreign()
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            name = entry.pop("name", None)
            if name is None or not _is_plain(name):
                return
            if entry.pop("gone", False):
                self._files.pop(name, None)
            elif entry.get("kind") is None or entry["kind"] in KINDS:
                file = RecordedFile(**entry)
                versions = self._files.setdefault(name, [])
                if file not in versions:
                    versions.append(file)
        except (ValueError, TypeError, AttributeError):
            return  # a line that was cut off or is malformed

    def _foreign(self) -> OutputError:
        return OutputError(
            f"{self.path}: found something that topa didn't write; expected nothing there, or its own record of the "
            "folder's files. Move it away, or name another place with --out."
        )


_records: dict[str, FolderRecord] = {}
_opening = threading.Lock()


def record_of(folder: Path) -> FolderRecord:
    """Return the record of a folder, which need not exist yet."""
    key = os.path.abspath(folder)
    with _opening:
        if key not in _records:
            _records[key] = FolderRecord(Path(key))
        return _records[key]


def _plain(file: RecordedFile) -> dict[str, object]:
    return {key: value for key, value in asdict(file).items() if value is not None}


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself; a record in somebody else's folder may hold any path."""
    return name not in ("", os.curdir, os.pardir) and os.path.basename(name) == name


def _is_header(line: bytes) -> bool:
    try:
        return bool(json.loads(line) == _HEADER)
    except ValueError:
        return False
