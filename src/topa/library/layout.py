"""Which files below a library's folder are ours: nothing else is ever removed from it, however it is called."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ..core.artifacts import MANIFEST, remove_unfinished
from .catalogue import FEATURES

_STORE = "features"  # of topa.features.store, which would load torch
_PART = re.compile(r"part-(\d{5,})")


def part_folders(library: Path) -> list[Path]:
    """The folders of feature stores, finished or not, in their order."""
    return [path for path in _parts(library) if path.is_dir() and not path.is_symlink() and _is_ours(path)]


def new_part(library: Path) -> Path:
    """The folder of the next feature store; it isn't there yet."""
    numbers = (int(path.name.removeprefix("part-")) for path in _parts(library))
    return library / FEATURES / f"part-{max(numbers, default=-1) + 1:05d}"


def remove_leftovers(library: Path) -> None:
    """Remove files that a killed process was writing."""
    for folder in (library, *part_folders(library)):
        remove_unfinished(folder)


def _parts(library: Path) -> list[Path]:
    folder = library / FEATURES
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(folder / name for name in names if _PART.fullmatch(name))


def _is_ours(folder: Path) -> bool:
    """Whether a folder's manifest is that of a store, or not written yet."""
    try:
        return bool(json.loads((folder / MANIFEST).read_bytes())["kind"] == _STORE)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
