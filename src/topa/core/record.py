"""The record of a folder: which files in it topa has written.

A file is recorded before it is put in its place, so that a process that is killed leaves nothing of ours that looks
like somebody else's. Lines are only ever appended, each with one call: several processes may share a folder.
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
_HEAD = 16  # bytes of a file by which its kind is known


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


KINDS: dict[str, Callable[[bytes], bool]] = {
    "arrays": lambda head: head[8:9] in (b"", b"{"),  # safetensors, or the beginning of one
    "database": lambda head: head.startswith(b"SQLite format 3\0"),
    "lines": lambda head: head.startswith(b"{"),
    "beside a database": lambda head: True,
    "unfinished": lambda head: True,
}
"""Files that are known by how they begin: they grow, or hold gigabytes. One that is empty may be of any kind."""
_KIND_OF_SUFFIX = {".safetensors": "arrays", ".index": "arrays", ".jsonl": "lines", ".sqlite": "database"}


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """What is known of a file that topa wrote. kind: one of `KINDS`, else `sha256` is that of its content, and `size`,
    `changed` (nanoseconds) and `number` (its inode) tell without reading it that nobody touched it."""

    kind: str | None = None
    sha256: str | None = None
    size: int | None = None
    changed: int | None = None
    number: int | None = None

    @classmethod
    def of(cls, path: Path, kind: str | None = None) -> RecordedFile:
        """The file as it is now."""
        if kind is not None:
            return cls(kind)
        found = path.stat()
        return cls(None, sha256(path), found.st_size, found.st_mtime_ns, found.st_ino)

    def fits(self, path: Path, found: os.stat_result) -> bool:
        """Whether a file is still this one."""
        if self.kind is not None:
            with path.open("rb") as file:
                head = file.read(_HEAD)
            return not head or KINDS[self.kind](head)
        if (self.size, self.changed, self.number) == (found.st_size, found.st_mtime_ns, found.st_ino):
            return True
        return self.size in (None, found.st_size) and sha256(path) == self.sha256


class FolderRecord:
    """The record of one folder. What others append is read when it is asked for.

    Raises OutputError where a file of its name is somebody else's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / RECORD
        self._lock = threading.Lock()
        self._forget()

    def versions(self, name: str) -> tuple[RecordedFile, ...]:
        """What was written under a name, the newest last; nothing for a name that isn't ours."""
        with self._lock:
            self._read()
            return tuple(self._files.get(name, ()))

    def names(self, kind: str) -> list[str]:
        """The names of files of a kind."""
        with self._lock:
            self._read()
            return [name for name, files in self._files.items() if any(file.kind == kind for file in files)]

    def add(self, name: str, file: RecordedFile, *, sync: bool = False) -> None:
        """Record a file. sync: wait until that is on the disk."""
        known = {key: value for key, value in asdict(file).items() if value is not None}
        self._append({"name": name, **known}, sync=sync)

    def discard(self, name: str) -> None:
        """Record that a file is gone: what has its name from now on is somebody else's."""
        if self.versions(name):
            self._append({"name": name, "gone": True})

    def exists(self) -> bool:
        """Whether there is one on the disk."""
        with self._lock:
            self._read()
            return self._there

    def remove_empty(self) -> None:
        """Remove it from the disk where it names no file that is there."""
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
                # A line that a full disk cut off must not take the next one with it.
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
        """Read what is new. Without a record, what an older topa left is taken over by its own manifests."""
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found is None or (stat.S_ISREG(found.st_mode) and not found.st_size):
            self._forget()
            self._files = {
                name: [RecordedFile(_KIND_OF_SUFFIX.get(Path(name).suffix), digest)]
                if digest
                else [RecordedFile.of(self.folder / name, _KIND_OF_SUFFIX.get(Path(name).suffix))]
                for name, digest in inherited_names(self.folder).items()
            }
            return
        if not stat.S_ISREG(found.st_mode):
            raise self._foreign()
        if not self._there or found.st_ino != self._number or found.st_size < self._end:
            self._forget()
            self._there, self._number = True, found.st_ino
        if found.st_size == self._end:
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
                known = self._files.setdefault(name, [])
                if file not in known:
                    known.append(file)
        except (ValueError, TypeError, AttributeError):
            return  # a line that was cut off, or isn't of our form

    def _foreign(self) -> OutputError:
        return OutputError(
            f"{self.path}: found something that topa didn't write; expected nothing there, or its own record of the "
            "folder's files. Move it away, or name another place with --out."
        )


_records: dict[str, FolderRecord] = {}
_opening = threading.Lock()


def record_of(folder: Path) -> FolderRecord:
    """The record of a folder, which need not be there yet."""
    key = os.path.abspath(folder)
    with _opening:
        if key not in _records:
            _records[key] = FolderRecord(Path(key))
        return _records[key]


def _plain(file: RecordedFile) -> dict[str, object]:
    return {key: value for key, value in asdict(file).items() if value is not None}


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself: a record may come with a stranger's folder."""
    return name not in ("", os.curdir, os.pardir) and os.path.basename(name) == name


def _is_header(line: bytes) -> bool:
    try:
        return bool(json.loads(line) == _HEADER)
    except ValueError:
        return False
