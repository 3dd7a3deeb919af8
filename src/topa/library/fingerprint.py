"""How a video is known again: by a hash of its content, and by signs that spare reading it whole.

A file whose size and time of change are those noted is not read at all. Where only the place is another, a sample of
its bytes decides, too: moved files keep size and time. Everything else is hashed whole: decoding reads it anyway, and
takes tens of times as long.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass

_PIECES, _PIECE = 16, 1 << 16  # of a file: pieces that are looked at, and bytes in one


@dataclass(frozen=True, slots=True)
class State:
    """A file on the disk. size: bytes. changed: nanoseconds since 1970."""

    size: int
    changed: int


def state(path: str) -> State:
    """Of a regular file; links are followed. Raises OSError where there is none."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "found a folder, a pipe or a device; expected a file")
    return State(found.st_size, found.st_mtime_ns)


def sample(path: str, size: int) -> str:
    """A hash of the size and of pieces spread over the file, the first and the last bytes with them. Raises OSError."""
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for piece in range(_PIECES):
            file.seek(max(0, size - _PIECE) * piece // (_PIECES - 1))
            digest.update(file.read(_PIECE))
    return digest.hexdigest()[:32]


def whole(path: str) -> str:
    """The SHA-256 of all bytes, as hex. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
