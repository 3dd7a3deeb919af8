"""A memory built from a store of text features, and what is in one: the verbs behind `topa memory`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.artifacts import output_folder
from ..core.command import typed
from ..core.errors import InputError
from ..core.printable import Hint, Note, Printout
from ..features import run
from ..features.sources import TideoSource
from ..features.store import FeatureStore
from ..tideos.index import TideoFile
from .bank import FILES, MemoryBank, build_from_store
from .inspection import Inspection
from .inspection import inspect as inspect_bank
from .verbs import BuildMemoryConfig, InspectMemoryConfig


def build(config: BuildMemoryConfig) -> Printout[MemoryBank]:
    """Build a memory of frames of a text-space store: fewer than asked for where it has fewer or some are near
    duplicates; without captions where their Tideos are neither named nor where topa encode read them.

    Raises what `build_from_store` raises, and InputError where the Tideos are others than those that were encoded.
    """
    opened = FeatureStore.open(config.store)
    output_folder(config.out, *FILES)
    files = [config.tideos] if config.tideos else _tideo_files(opened)
    captions = _captions(files) if files else None
    bank = build_from_store(opened, config.rows, config.seed, captions=captions, near=config.near)
    bank.save(config.out)
    return Printout(bank, _text(bank, config), _json(bank, config.out))


def inspect(config: InspectMemoryConfig) -> Inspection:
    """Say what is in a memory; see `topa.memory.inspection`."""
    return inspect_bank(MemoryBank.load(config.folder))


def _text(bank: MemoryBank, config: BuildMemoryConfig) -> Iterator[str | Note | Hint]:
    if bank.captions is None:
        yield Note("note: without captions, as the Tideos were not found; --tideos names them")
    if config.near is not None:
        yield f"near:    {len(bank):,} rows are left of those drawn; --rows takes more"
    yield f"memory:  {config.out} ({len(bank):,} rows, {bank.values.shape[1]} wide, {bank.encoder})"
    yield Hint(f"next:    {typed('memory', 'inspect', config.out)}")


def _json(bank: MemoryBank, out: Path) -> dict[str, Any]:
    return {"out": out, "rows": len(bank), "encoder": bank.encoder, "captions": bank.captions is not None}


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
