"""One file of a feature store: the rows of some items, with all that is needed to know that it is whole.

    values float16 [R, D], times float64 [R] (NaN: no time), ends int64 [n] (where the rows of each item end),
    numbers int64 [n] (the place of each item in the input), and the ids

Its metadata has a hash of these, and what whoever wrote it wants to find again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.arrays import parse_arrays, serialize, write_arrays
from ..core.errors import ArtifactError
from ..core.string_table import StringTable

NAME = "features-{:05d}.safetensors"


@dataclass(frozen=True, slots=True)
class Item:
    """One item to be written. values: [T, D] unit rows. times: float64 [T] or None. number: its place in the input."""

    name: str
    values: Tensor
    times: Tensor | None
    number: int


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a store, memory-mapped: nothing of values and times is read before it is touched.

    values: float16 [R, D]. times: float64 [R]. ends, numbers: int64 [n]. about: what was noted in it.
    """

    values: NDArray[np.float16]
    times: NDArray[np.float64]
    ends: NDArray[np.int64]
    numbers: NDArray[np.int64]
    names: StringTable
    about: Mapping[str, Any]


def write_shard(path: Path, items: Sequence[Item], width: int, about: Mapping[str, Any] | None = None) -> None:
    """Write a file of a store, whole or not at all. Raises OutputError where the folder can't be written."""
    arrays: dict[str, NDArray[Any]] = {
        "values": torch.cat([torch.empty(0, width).half(), *(item.values.half() for item in items)]).numpy(),
        "times": np.concatenate([np.empty(0), *(_times(item) for item in items)]),
        "ends": np.cumsum([len(item.values) for item in items], dtype=np.int64),
        "numbers": np.array([item.number for item in items], np.int64),
        **StringTable.of(item.name for item in items).arrays(),
    }
    write_arrays(path, arrays, {**(about or {}), "sha256": _digest(arrays)})


def read_shard(path: Path, *, verify: bool = False) -> Shard:
    """Map a file of a store; with `verify`, what is in it is hashed. Raises ArtifactError where it isn't whole."""
    try:
        # Mapped by torch, as Python's mmap holds a descriptor for each of what may be thousands of files.
        mapped = parse_arrays(torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8).numpy())
        arrays = mapped.arrays
        shard = Shard(
            arrays["values"],
            arrays["times"],
            arrays["ends"],
            arrays["numbers"],
            StringTable.from_arrays(arrays),
            mapped.about,
        )
        rows, items = len(shard.values), len(shard.ends)
        if len(shard.times) != rows or (int(shard.ends[-1]) if items else 0) != rows:
            raise ValueError("its arrays don't fit each other")
        if len(shard.names) != items or len(shard.numbers) != items:
            raise ValueError("its ids don't fit its rows")
        if verify and mapped.about.get("sha256") != _digest(arrays):
            raise ValueError("what is in it is not what was written")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"{path}: found a file that can't be read ({error}); expected a whole feature store. Encode again: the "
            "same topa encode command writes what is missing or damaged."
        ) from error
    return shard


def _times(item: Item) -> NDArray[np.float64]:
    return np.full(len(item.values), np.nan) if item.times is None else item.times.double().numpy()


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for piece in serialize(arrays):
        digest.update(piece)
    return digest.hexdigest()
