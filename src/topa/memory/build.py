"""A memory built from a store of text features, and what is in one: the verbs behind `topa memory`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.artifacts import output_folder
from ..core.errors import InputError
from ..features import run
from ..features.sources import TideoSource
from ..features.store import FeatureStore
from ..tideos.index import TideoFile
from .bank import FILES, MemoryBank, build_from_store

if TYPE_CHECKING:
    from .inspection import Inspection


def build_memory(
    store: Path, out: Path, rows: int, *, seed: int = 0, near: float | None = None, tideos: Path | None = None
) -> MemoryBank:
    """Build a memory of `rows` frames of a text-space store; fewer where it has fewer, or some are near duplicates.

    tideos: where the captions are; by default what topa encode noted. Without either the memory has no captions.
    Raises what `build_from_store` raises, and InputError where the Tideos are others than those that were encoded.
    """
    opened = FeatureStore.open(store)
    output_folder(out, *FILES)
    files = [tideos] if tideos else _tideo_files(opened)
    bank = build_from_store(opened, rows, seed, captions=_captions(files) if files else None, near=near)
    bank.save(out)
    return bank


def inspect_memory(folder: Path) -> Inspection:
    """Inspect a memory; see `topa.memory.inspection`."""
    from ..memory.inspection import inspect

    return inspect(MemoryBank.load(folder))


def _tideo_files(store: FeatureStore) -> list[Path]:
    """Return the files of Tideos that a store was made of, where they still exist."""
    paths = run.paths_of(store)
    if not paths or not all(path.is_file() for path in paths):
        return []
    if TideoSource.hash(paths) != store.manifest.parents.get("tideos_file"):
        raise InputError(
            f"{paths[0]}: was changed since {store.path} was made of it. Name the Tideos that were encoded with "
            "--tideos, or encode again."
        )
    return paths


def _captions(paths: Sequence[Path]) -> Callable[[str], list[str]]:
    files = [TideoFile.open(path) for path in paths]

    def of(name: str) -> list[str]:
        for file in files:
            if (number := file.ids.number(name)) >= 0:
                return [frame.caption for frame in file[number].frames]
        raise InputError(
            f"{paths[0]}: found no Tideo {name!r}; expected the Tideos that were encoded. Name their file: --tideos."
        )

    return of
