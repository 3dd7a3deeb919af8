"""The feature store: features of many (textual) videos in one folder, memory-mapped.

Written by `encode`; read by memory, training, inference and the library, one item at a time and in any order.

    manifest.json                  what made it; written last
    ids.json                       {"shards": [items in each], "ids": [all, in order]}
    features-00000.safetensors     values float16 [R, D], offsets int64 [n + 1], times float64 [R] (NaN: no time)
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..core.artifacts import MANIFEST, Manifest, finish, output_folder, read_manifest, write_atomically
from ..core.errors import ArtifactError, ArtifactMismatch, InputError
from .frames import FrameFeatures, Space

KIND = "features"
_IDS = "ids.json"
_SHARD = "features-{:05d}.safetensors"


class FeatureStore:
    """A finished store, read lazily: `store[id]` is the FrameFeatures of one item, iterating gives the ids in order.

    path: its folder. encoder, width, space: what all rows have in common. manifest: what made it.
    """

    def __init__(self, path: Path, manifest: Manifest, ids: list[str], shards: list[int]) -> None:
        self.path = path
        self.manifest = manifest
        self.encoder = str(manifest.encoder)
        self.width = int(manifest.width or 0)
        self.space: Space = manifest.config["space"]
        self._ids = ids
        self._number = {name: number for number, name in enumerate(ids)}
        self._ends = list(accumulate(shards))
        self._shards: list[_Shard | None] = [None] * len(shards)

    @classmethod
    def open(cls, folder: str | Path) -> FeatureStore:
        """Open a store without reading its features. Raises ArtifactError where there is no finished, whole store."""
        path = Path(folder)
        manifest = read_manifest(path, KIND)
        try:
            listed = json.loads((path / _IDS).read_bytes())
            ids, shards = list(map(str, listed["ids"])), list(map(int, listed["shards"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path / _IDS, "can't be read") from error
        whole = sum(shards) == len(set(ids)) == len(ids) == manifest.counts.get("items")
        if not whole or manifest.config.get("space") not in get_args(Space) or not manifest.encoder:
            raise _damaged(path / _IDS, "doesn't fit manifest.json")
        return cls(path, manifest, ids, shards)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: object) -> bool:
        return name in self._number

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __getitem__(self, name: str) -> FrameFeatures:
        """Features of one item: float32 unit rows, all valid. Raises InputError for an unknown id."""
        shard, start, end = self._find(name)
        values = _unit(shard.values[start:end])
        times = shard.times[start:end]
        return FrameFeatures(
            values=values,
            valid=torch.ones(end - start, dtype=torch.bool),
            space=self.space,
            encoder=self.encoder,
            times=None if times[0].isnan() else times.clone(),
        )

    def items(self) -> Iterator[tuple[str, FrameFeatures]]:
        """All ids with their features, in the order in which they were written."""
        return ((name, self[name]) for name in self)

    def rows(self, name: str) -> Tensor:
        """The values of one item alone, float32 [T, D] unit rows: the short way for whoever reads many."""
        shard, start, end = self._find(name)
        return _unit(shard.values[start:end])

    def expect(self, encoder: str, space: Space) -> FeatureStore:
        """Itself, where it was made by this encoder in this space; else raises ArtifactMismatch with the remedy."""
        if self.encoder != encoder:
            raise ArtifactMismatch(
                f"{self.path}: features were made by {self.encoder} ({self.width} wide); expected {encoder}. "
                f"Encode again: topa encode INPUT --encoder {encoder} --out {self.path}"
            )
        if self.space != space:
            source = {"text": "tideos.jsonl", "image": "VIDEO...", "projected": "VIDEO..."}[space]
            raise ArtifactMismatch(
                f"{self.path}: holds features of {self.space} space; expected {space} space. "
                f"Encode the other side: topa encode {source} --encoder {encoder} --out DIR"
            )
        return self

    def _find(self, name: str) -> tuple[_Shard, int, int]:
        number = self._number.get(name)
        if number is None:
            known = f"one of its ids, e.g. {self._ids[0]!r}" if self._ids else "an id, but it is empty"
            raise InputError(
                f"{self.path}: found no features of {name!r} among {len(self)} items; expected {known}. "
                "Encode it: topa encode"
            )
        index = bisect_right(self._ends, number)
        shard = self._shards[index]
        if shard is None:
            items = self._ends[index] - (self._ends[index - 1] if index else 0)
            shard = self._shards[index] = _read_shard(self.path / _SHARD.format(index), items, self.width)
        local = number - (self._ends[index - 1] if index else 0)
        return shard, shard.offsets[local], shard.offsets[local + 1]


class FeatureStoreWriter:
    """Writes a store, shard by shard; `close` makes it one. An older store in the folder is gone from the start.

    shard_rows: rows after which a shard is full. Raises OutputError where the folder can't be written.
    """

    def __init__(self, folder: str | Path, encoder: str, width: int, space: Space, shard_rows: int = 1 << 16) -> None:
        self.path = output_folder(Path(folder))
        (self.path / MANIFEST).unlink(missing_ok=True)
        for old in self.path.glob("features-*.safetensors"):
            old.unlink()
        self._encoder, self._width, self._space = encoder, width, space
        self._shard_rows = shard_rows
        self._ids: dict[str, None] = {}
        self._shards: list[int] = []
        self._rows = self._waiting = 0
        self._values: list[Tensor] = []
        self._times: list[Tensor] = []

    def add(self, features: FrameFeatures, name: str) -> None:
        """Append one item; its padding is left out.

        Raises InputError where the id was there before or no frame is valid, ArtifactMismatch where the features are
        of another encoder, width or space.
        """
        found = (features.encoder, features.width, features.space)
        expected = (self._encoder, self._width, self._space)
        if found != expected:
            raise ArtifactMismatch(
                f"{self.path}: {name!r} has features (encoder, width, space) {found}; expected {expected}. "
                "Encode all items of a store with one encoder."
            )
        if name in self._ids:
            raise InputError(f"{self.path}: found the id {name!r} twice; expected unique ids. Rename one of the two.")
        kept = torch.nonzero(features.valid).flatten()
        values = features.values.index_select(0, kept)
        if not len(values):
            raise InputError(f"{self.path}: {name!r} has no valid frame; expected at least one. Leave it out.")
        times = torch.full((len(values),), float("nan"), dtype=torch.float64)
        if features.times is not None:
            times = features.times.index_select(0, kept).double()
        self._ids[name] = None
        self._values.append(values.half())
        self._times.append(times)
        self._rows += len(values)
        self._waiting += len(values)
        if self._waiting >= self._shard_rows:
            self._flush()

    def close(self, parents: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None) -> FeatureStore:
        """Finish the store: the manifest comes last. parents: hashes of what it was made from. config: how."""
        self._flush()
        listed = {"shards": self._shards, "ids": list(self._ids)}
        write_atomically(self.path / _IDS, json.dumps(listed, ensure_ascii=False) + "\n")
        manifest = Manifest(
            kind=KIND,
            encoder=self._encoder,
            width=self._width,
            normalised=True,
            counts={"items": len(self._ids), "rows": self._rows},
            config={**(config or {}), "space": self._space},
            parents=dict(parents or {}),
        )
        finish(self.path, manifest, [_IDS, *(_SHARD.format(index) for index in range(len(self._shards)))])
        return FeatureStore.open(self.path)

    def _flush(self) -> None:
        if not self._values:
            return
        offsets = torch.tensor([0, *accumulate(map(len, self._values))], dtype=torch.int64)
        tensors = {"values": torch.cat(self._values), "offsets": offsets, "times": torch.cat(self._times)}
        write_atomically(self.path / _SHARD.format(len(self._shards)), save(tensors))
        self._shards.append(len(self._values))
        self._values, self._times, self._waiting = [], [], 0


@dataclass(frozen=True, slots=True)
class _Shard:
    """values float16 [R, D] and times float64 [R] stay on disk until they are touched."""

    values: Tensor
    times: Tensor
    offsets: list[int]


def _read_shard(path: Path, items: int, width: int) -> _Shard:
    try:
        with safe_open(path, framework="pt") as file:
            shard = _Shard(file.get_tensor("values"), file.get_tensor("times"), file.get_tensor("offsets").tolist())
    except (OSError, SafetensorError) as error:
        raise _damaged(path, "can't be read") from error
    rows = shard.offsets[-1]
    if len(shard.offsets) != items + 1 or shard.values.shape != (rows, width) or shard.times.shape != (rows,):
        raise _damaged(path, "doesn't fit ids.json")
    return shard


def _unit(values: Tensor) -> Tensor:
    """Float32 unit rows of stored half-precision ones."""
    rows = values.float()
    return rows.div_(torch.linalg.vector_norm(rows, dim=-1, keepdim=True))


def _damaged(path: Path, what: str) -> ArtifactError:
    return ArtifactError(f"{path}: found a file that {what}; expected a whole feature store. Encode again: topa encode")
