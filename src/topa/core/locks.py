"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

LOCK = "run.lock"


@contextmanager
def alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder; the kernel frees it when the process ends, however that is.

    wait: until another one has ended. Raises OutputError where another process has the folder, or it can't be written.
    """
    try:
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise OutputError(f"{folder}: can't be written ({error.strerror}). Name another folder with --out.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise OutputError(
                f"{folder}: another process is at work in it. Wait for its end, or name another folder with --out."
            ) from error
        yield
