"""Format topa commands for messages and files.

Commands written to files start with `topa`, the same on every machine. Commands printed to a terminal start with
whatever runs topa there, such as `.venv/bin/topa` if the environment isn't activated.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_NAME = "topa"
_FILES = (_NAME, f"{_NAME}.exe")
_COMMAND = re.compile(rf"(^ *|: +){_NAME} (?=[a-z-])", re.MULTILINE)


def command() -> str | None:
    """Return the command line that started topa, or None if topa runs as a library."""
    name = Path(sys.argv[0]).name
    return shlex.join([_NAME, *sys.argv[1:]]) if name in (*_FILES, "__main__.py") else None


def command_line(*words: object) -> str:
    """Format a topa command with shell quoting: `command_line("index", "VIDEOS", "--out", folder)`.

    It starts with `topa`; `in_this_shell` turns it into one that runs in the user's shell.
    """
    return " ".join([_NAME, _quoted(map(str, words))])


def typed(*words: object) -> str:
    """Format a topa command so that it runs in the user's shell and working folder."""
    return in_this_shell(command_line(*words))


def in_this_shell(text: str) -> str:
    """Rewrite the topa commands in a text so that they run in the user's shell.

    A command starts a line or follows a colon, as in `Make one: topa index ...`; elsewhere `topa` is only a name.
    """
    return _COMMAND.sub(lambda match: f"{match[1]}{program()} ", text)


def program() -> str:
    """Return how to run this topa: its name if on PATH, else the path of its script, else `python -m topa.cli`."""
    return _program(os.environ.get("PATH", ""), os.getcwd(), sys.argv[0])


@cache
def _program(path: str, here: str, started: str) -> str:
    script = _script(started)
    if script is None:
        python = shutil.which("python", path=path)
        short = python is not None and os.path.abspath(python) == os.path.abspath(sys.executable)
        return _quoted(["python" if short else _nearest(sys.executable, here), "-m", "topa.cli"])
    first = shutil.which(_NAME, path=path)
    if first is not None and os.path.samefile(first, script):
        return _NAME
    return _quoted([_nearest(script, here)])


def _script(started: str) -> str | None:
    """Return the script of this installation: the one in this Python's scripts folder, or the one that was started."""
    beside = [Path(sysconfig.get_path("scripts"), name) for name in _FILES]
    places = [*beside, *([Path(started)] if Path(started).name in _FILES else [])]
    return next((os.path.abspath(place) for place in places if place.is_file()), None)


def _nearest(path: str, here: str) -> str:
    """Return a path relative to the working folder if it lies below it, else the absolute path."""
    absolute = os.path.abspath(path)
    if not Path(absolute).is_relative_to(here):
        return absolute
    relative = os.path.relpath(absolute, here)
    return relative if os.sep in relative else os.path.join(os.curdir, relative)


def _quoted(words: Iterable[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
