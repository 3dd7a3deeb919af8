"""Format the command that installs an optional dependency."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "topa-video"
"""The package's name for pip. `topa` is the import and the command; on PyPI that name belongs to another project."""
_CONSTRAINTS = "constraints.txt"


def install_line(extra: str) -> str:
    """Return the command that adds an optional dependency group to this installation.

    For a checkout it is an editable install with the tested versions of constraints.txt.
    """
    checkout = checkout_folder()
    if checkout is None:
        return _quote([*_pip(), f"{DISTRIBUTION}[{extra}]"])
    constraints = checkout / _CONSTRAINTS
    tested = ["-c", _from_here(constraints)] if constraints.is_file() else []
    return _quote([*_pip(), *tested, "-e", f"{_from_here(checkout)}[{extra}]"])


def checkout_folder() -> Path | None:
    """Return the root of the source checkout that runs, or None for an installed package."""
    source = Path(__file__).resolve().parents[2]
    return source.parent if source.name == "src" and (source.parent / "pyproject.toml").is_file() else None


def _pip() -> list[str]:
    """Return how to run pip for this interpreter; uv if the environment has no pip."""
    python = Path(sys.executable)
    on_path = shutil.which("pip")
    if on_path and Path(on_path).parent == python.parent:
        return ["pip", "install"]
    if find_spec("pip") is None:
        return ["uv", "pip", "install", "--python", _from_here(python)]
    return [_from_here(python), "-m", "pip", "install"]


def _from_here(path: Path) -> str:
    """Return a path relative to the working folder if it lies below it, else unchanged."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _quote(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
