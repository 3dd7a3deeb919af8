"""Locks of processes that live, end and are killed; and what else may stand where a lock file should."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from topa.core import locks
from topa.core.errors import OutputError
from topa.core.locks import LOCK, LocksUnsupported, exclusive, is_held, take

HOLDER = """
import sys
from pathlib import Path
from topa.core.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("here", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that has the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def test_one_process_at_a_time_and_a_killed_one_has_nothing(tmp_path: Path) -> None:
    process = holder(tmp_path)
    assert is_held(tmp_path / LOCK)
    with pytest.raises(OutputError, match="another process is at work in it"), exclusive(tmp_path):
        pytest.fail("two at a time")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not is_held(tmp_path / LOCK)
    with exclusive(tmp_path), pytest.raises(OutputError, match="another process"), exclusive(tmp_path):
        pytest.fail("two at a time")
    with exclusive(tmp_path):
        pass


def test_to_wait_ends_with_the_other_one(tmp_path: Path) -> None:
    process = holder(tmp_path)
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace("argv[1])", "argv[1]), wait=True"), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.communicate("")
    assert waiting.communicate("", timeout=60)[0] == "here\n"
    assert (process.returncode, waiting.returncode) == (0, 0)


def test_a_file_that_was_there_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(b"somebody's")
    with exclusive(tmp_path):
        pass
    assert (tmp_path / LOCK).read_bytes() == b"somebody's"


def link_to_a_file(at: Path, home: Path) -> None:
    at.symlink_to(home / "treasure")


def link_to_nothing(at: Path, home: Path) -> None:
    at.symlink_to(home / "absent")


def link_to_a_folder(at: Path, home: Path) -> None:
    at.symlink_to(home)


def folder(at: Path, home: Path) -> None:
    at.mkdir()


def pipe(at: Path, home: Path) -> None:
    os.mkfifo(at)


def link_to_a_device(at: Path, home: Path) -> None:
    at.symlink_to("/dev/null")


KINDS = (link_to_a_file, link_to_nothing, link_to_a_folder, folder, pipe, link_to_a_device)


@pytest.mark.parametrize("flags", ["as here", "without O_NOFOLLOW"])
@pytest.mark.parametrize("moment", ["before", "after the look"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_lock_file_is_refused_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Path, Path], None], moment: str, flags: str
) -> None:
    """Also what is made between the look and the opening, and where the system can't refuse links by itself."""
    home, inside = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    inside.mkdir()
    (home / "treasure").write_bytes(b"the user's own")
    at = inside / LOCK
    if flags != "as here":
        monkeypatch.setattr(locks, "_OPENED", os.O_RDWR | os.O_NONBLOCK)
    if moment == "before":
        kind(at, home)
    else:
        original = os.open

        def late(path: Path, *arguments: int) -> int:
            if path == at and not os.path.lexists(at):
                kind(at, home)
            return original(path, *arguments)

        monkeypatch.setattr(locks.os, "open", late)
    with (
        pytest.raises(OutputError, match=r"run\.lock: (found a (link|folder|pipe)|can't be written)"),
        exclusive(inside),
    ):
        pytest.fail("locked")
    monkeypatch.undo()
    assert os.path.lexists(at)
    assert (home / "treasure").read_bytes() == b"the user's own"
    if moment == "before" or flags == "as here":
        assert os.listdir(home) == ["treasure"]


def test_a_lock_that_was_removed_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file went between the opening and the locking: the lock of a file without a name would keep nobody out."""
    path = tmp_path / "lock"
    original, tries = locks.lock_descriptor, []

    def late(handle: int, **arguments: bool) -> bool:
        if not tries:
            path.unlink()
        tries.append(handle)
        return original(handle, **arguments)

    monkeypatch.setattr(locks, "lock_descriptor", late)
    handle = take(path)
    assert handle is not None
    assert len(tries) == 2
    assert is_held(path)
    os.close(handle)
    assert not is_held(path)


def test_where_there_are_no_locks_it_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(handle: int, **arguments: bool) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "lock_descriptor", missing)
    for _ in range(2):
        with exclusive(tmp_path):
            pass
    assert capsys.readouterr().err.count("can't be locked here (No locks available)") == 1
    with pytest.raises(LocksUnsupported):  # whoever can't do without one isn't given one
        take(tmp_path / "other")


NO_FCNTL = """
import sys
from pathlib import Path
sys.modules["fcntl"] = None
from topa.core.locks import exclusive
from topa.tideos.ledger import Ledger
with exclusive(Path(sys.argv[1])):
    print("alone")
Ledger(Path(sys.argv[1]) / "ledger.sqlite", {})
"""


def test_a_python_without_locks_warns_and_never_pays_twice(tmp_path: Path) -> None:
    """filelock would go over to files that a killed process leaves for ever; it isn't asked to."""
    process = subprocess.run(
        [sys.executable, "-c", NO_FCNTL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert process.stdout == "alone\n"
    assert f"warning: {tmp_path}: can't be locked here (fcntl is unavailable). Let no second process" in process.stderr
    assert "ledger.sqlite.owners: can't be locked here" in process.stderr.splitlines()[-1]
    assert process.returncode == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"can't be written \(No such file.*--out"), exclusive(tmp_path / "absent"):
        pytest.fail("locked")
    assert not is_held(tmp_path / "absent")
