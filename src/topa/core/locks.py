"""File locks that the kernel releases when their process ends, however it ends; by filelock on every system.

A lock file is never written to and never opened through a symbolic link: it is a regular file, or it is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import lock_descriptor

from .errors import OutputError
from .progress import console

LOCK = "run.lock"
_OPENED = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # never block on a pipe
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class LocksUnsupported(OutputError):
    """The file system, or this build of Python, has no file locks."""


@contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder. If locks aren't supported there, warn once and go on without.

    wait: block until the lock is free. Raises OutputError if another process holds it or the folder can't be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(folder / LOCK, wait=wait))
        except LocksUnsupported as error:
            _warn(str(error))
        yield


@contextmanager
def hold(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file. Raises OutputError if another process holds it, and the errors of `take`."""
    handle = take(path, wait=wait)
    if handle is None:
        raise OutputError(
            f"{path.parent}: another process is at work in it. Wait for its end, or name another folder with --out."
        )
    try:
        yield
    finally:
        os.close(handle)


def take(path: Path, *, wait: bool = False) -> int | None:
    """Lock a file, creating it if necessary.

    Return a descriptor that holds the lock until it is closed, or None if another process holds it. wait: block until
    the lock is free. Raises OutputError if the file can't be opened or isn't a regular file, LocksUnsupported if locks
    aren't supported.
    """
    while True:
        try:
            handle = _open(path, os.O_CREAT)
        except OSError as error:
            raise OutputError(
                f"{path}: can't be written ({error.strerror}). Name another folder with --out."
            ) from error
        try:
            is_taken = not _lock(handle, path, wait=wait)
            if not is_taken and _is_at(path, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if is_taken:
            return None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of a file; False if the file doesn't exist.

    The check takes the lock for a moment, so of two simultaneous checks one may see the other as the holder. Raises as
    `take` does.
    """
    try:
        handle = _open(path, 0)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{path}: can't be opened ({error.strerror}). Change its mode.") from error
    try:
        return not _lock(handle, path, wait=False)
    finally:
        os.close(handle)


def _open(path: Path, flags: int) -> int:
    """Open a lock file. Raises OSError, and OutputError if it isn't a regular file."""
    with suppress(FileNotFoundError):
        _check(path, path.lstat())  # opening a device may have side effects
    try:
        handle = os.open(path, _OPENED | flags, 0o644)
    except OSError:
        if path.is_symlink():  # created since the check; the error for O_NOFOLLOW differs between systems
            _check(path, path.lstat())
        raise
    try:
        _check(path, os.fstat(handle))
        if not _is_at(path, handle) and path.is_symlink():  # systems without O_NOFOLLOW
            _check(path, path.lstat())
    except FileNotFoundError:  # its holder has just removed it
        return handle
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file is still the one at this path."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _check(path: Path, at: os.stat_result) -> None:
    if not stat.S_ISREG(at.st_mode):
        kind = (
            "a link" if stat.S_ISLNK(at.st_mode) else "a folder" if stat.S_ISDIR(at.st_mode) else "a pipe or a device"
        )
        raise OutputError(
            f"{path}: found {kind}; expected a lock file of topa, or nothing. Move it away, or name another folder "
            "with --out."
        )


def _lock(handle: int, path: Path, *, wait: bool) -> bool:
    try:
        return lock_descriptor(handle, blocking=wait)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise LocksUnsupported(
                f"{path.parent}: can't be locked here ({error.strerror}). Let no second process work in it, or name a "
                "folder on a local disk with --out."
            ) from error
        raise OutputError(f"{path}: can't be locked ({error.strerror}). Name another folder with --out.") from error


@cache
def _warn(text: str) -> None:
    console.print(f"warning: {text}", soft_wrap=True, markup=False, highlight=False)
