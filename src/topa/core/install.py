"""The line that installs what is missing, as it can be typed where topa runs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "topa-video"
"""What pip calls the package. `topa` is its import and its command; on PyPI that name belongs to somebody else."""
_CONSTRAINTS = "constraints.txt"


def install_line(extra: str) -> str:
    """Return the command that adds an optional group of dependencies to this installation.

    A checkout is installed again as one, held to its tested versions; for an installed wheel pip keeps the wheel and
    adds what the group names.
    """
    checkout = checkout_folder()
    if checkout is None:
        return _typed([*_pip(), f"{DISTRIBUTION}[{extra}]"])
    constraints = checkout / _CONSTRAINTS
    tested = ["-c", _from_here(constraints)] if constraints.is_file() else []
    return _typed([*_pip(), *tested, "-e", f"{_from_here(checkout)}[{extra}]"])


def checkout_folder() -> Path | None:
    """The folder of the source tree that runs, where it is one."""
    source = Path(__file__).resolve().parents[2]
    return source.parent if source.name == "src" and (source.parent / "pyproject.toml").is_file() else None


def _pip() -> list[str]:
    """The pip of the interpreter that runs; uv, where the environment was made without one."""
    python = Path(sys.executable)
    on_path = shutil.which("pip")
    if on_path and Path(on_path).parent == python.parent:
        return ["pip", "install"]
    if find_spec("pip") is None:
        return ["uv", "pip", "install", "--python", _from_here(python)]
    return [_from_here(python), "-m", "pip", "install"]


def _from_here(path: Path) -> str:
    """A path below the working folder relative to it, any other in full."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _typed(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
