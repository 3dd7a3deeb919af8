"""Commands of topa: the one that was typed, and those that people are told to type.

What goes into a file says `topa ...`, the same on every machine. What goes to a terminal begins with whatever starts
topa there: `.venv/bin/topa` in a checkout whose environment nobody has activated.
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
    """The command line, where topa was started from one."""
    name = Path(sys.argv[0]).name
    return shlex.join([_NAME, *sys.argv[1:]]) if name in (*_FILES, "__main__.py") else None


def command_line(*words: object) -> str:
    """A command of topa for a message: `command_line("index", "VIDEOS", "--out", folder)`, with quotes where the
    shell needs them. `in_this_shell` makes it one that can be typed."""
    return " ".join([_NAME, _quoted(map(str, words))])


def typed(*words: object) -> str:
    """A command of topa as it can be typed in the reader's shell and working folder."""
    return in_this_shell(command_line(*words))


def in_this_shell(text: str) -> str:
    """A text whose commands can be typed. A command stands at the start of a line or behind a colon: `Make one: topa
    index ...`; elsewhere the word `topa` is a name."""
    return _COMMAND.sub(lambda match: f"{match[1]}{program()} ", text)


def program() -> str:
    """What starts this topa from the working folder: its name where the shell finds it, else a path, else Python."""
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
    """The file that starts this installation: the one beside this Python, or the one that has."""
    beside = [Path(sysconfig.get_path("scripts"), name) for name in _FILES]
    places = [*beside, *([Path(started)] if Path(started).name in _FILES else [])]
    return next((os.path.abspath(place) for place in places if place.is_file()), None)


def _nearest(path: str, here: str) -> str:
    """A path relative to the working folder where it lies below it."""
    absolute = os.path.abspath(path)
    if not Path(absolute).is_relative_to(here):
        return absolute
    relative = os.path.relpath(absolute, here)
    return relative if os.sep in relative else os.path.join(os.curdir, relative)


def _quoted(words: Iterable[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
