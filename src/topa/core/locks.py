"""Locks that the kernel frees when their process ends, however it ends. On every system, by filelock.

A lock file is never written to, and never opened through a link: what stands at its name is a regular file, made by
us, or the lock is refused.
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
_OPENED = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class LocksUnsupported(OutputError):
    """A file system, or a Python, without locks."""


@contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder; the kernel frees it when the process ends, however that is. Where there are no locks, a warning
    says so, once.

    wait: until another one has ended. Raises OutputError where another process has the folder, or it can't be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(folder / LOCK, wait=wait))
        except LocksUnsupported as error:
            _warn(str(error))
        yield


@contextmanager
def hold(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file, see `take`. Raises OutputError where another process has it, and what `take` raises."""
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
    """Lock a file, which is made where there is none. Return its descriptor, which holds the lock until it is closed;
    None where somebody else has it.

    wait: until it is free. Raises OutputError where the file can't be opened or is something else than a file of its
    own, such as a link; LocksUnsupported where there are no locks.
    """
    while True:
        try:
            handle = _open(path, os.O_CREAT)
        except OSError as error:
            raise OutputError(
                f"{path}: can't be written ({error.strerror}). Name another folder with --out."
            ) from error
        try:
            held = not _lock(handle, path, wait=wait)
            if not held and _is_at(path, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if held:
            return None


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file; nobody does where there is no file. To look takes the lock for a
    moment: of two that look at once, one may take the other for the holder. Raises as `take` does."""
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
    """Open a lock file. Raises OSError, and OutputError for what isn't a regular file of that very name."""
    with suppress(FileNotFoundError):
        _check(path, path.lstat())  # a device may act when it is opened
    try:
        handle = os.open(path, _OPENED | flags, 0o644)
    except OSError:
        if path.is_symlink():  # made since: O_NOFOLLOW has its own error on every system
            _check(path, path.lstat())
        raise
    try:
        _check(path, os.fstat(handle))
        if not _is_at(path, handle) and path.is_symlink():  # where there is no O_NOFOLLOW
            _check(path, path.lstat())
    except FileNotFoundError:  # its holder has just removed it
        return handle
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file still is the one of this name."""
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
