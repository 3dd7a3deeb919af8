"""Which files below a library's folder are ours: nothing else is ever removed from it, however it is called."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from ..core.artifacts import MANIFEST
from ..core.unfinished import SHARDS, remove_unfinished
from .catalogue import CATALOGUE, FEATURES

_STORE, _INDEX = "features", "index.safetensors"  # of topa.features.store, which would load torch
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
    remove_unfinished(library, re.escape(CATALOGUE), re.escape(MANIFEST))
    for folder in part_folders(library):
        remove_unfinished(folder, SHARDS, re.escape(_INDEX), re.escape(MANIFEST))


def remove_part(folder: Path) -> None:
    """Remove a store of which no features are left; the folder stays where there is something else in it."""
    for name in (MANIFEST, _INDEX):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


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
