"""The feature store: features of many (textual) videos in one folder, memory-mapped.

Written by `encode`; read by memory, training, inference and the library, in any order.

    manifest.json                  what made it; written last
    index.safetensors              all ids, and in which file and rows the features of each are
    features-00000.safetensors     see `topa.features.shard`; in parts, of folders such as shard-0-of-4

An id is found through hashes in the index, so that opening a store costs the same for ten items and for a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.arrays import map_arrays, write_arrays
from ..core.artifacts import MANIFEST, Manifest, finish, output_folder, read_manifest, remove
from ..core.errors import ArtifactError, ArtifactMismatch, InputError
from ..core.string_table import NameTable
from .frames import FrameFeatures, Space
from .shard import NAME, Item, Shard, read_shard, write_shard

KIND = "features"
INDEX = "index.safetensors"
FILES = (INDEX, MANIFEST, "features-*.safetensors")
"""What a store is written as."""
_BLOCK = 128  # rows that become float32 together: they stay in a processor's cache
_TINY = 1e-12
_UNIT = 1e-2  # how far a stored row's length may be from 1


@dataclass(frozen=True, slots=True)
class _Index:
    """Where the features of each item are. files: by number, below the store's folder. file int32, start int64,
    length int32, each [n]."""

    files: tuple[str, ...]
    names: NameTable
    file: NDArray[np.int32]
    start: NDArray[np.int64]
    length: NDArray[np.int32]


class FeatureStore:
    """A finished store, read lazily: `store[id]` is the FrameFeatures of one item, iterating gives the ids in order.

    path: its folder. encoder, width, space: what all rows have in common. manifest: what made it. ids: all of them.
    """

    def __init__(self, path: Path, manifest: Manifest, index: _Index) -> None:
        self.path = path
        self.manifest = manifest
        self.encoder = str(manifest.encoder)
        self.width = int(manifest.width or 0)
        self.space: Space = manifest.config["space"]
        self._index = index
        self._shards: list[Shard | None] = [None] * len(index.files)

    @classmethod
    def open(cls, folder: str | Path) -> FeatureStore:
        """Open a store without reading its features. Raises ArtifactError where there is no finished, whole store."""
        path = Path(folder)
        manifest = read_manifest(path, KIND)
        try:
            mapped = map_arrays(path / INDEX)
            index = _Index(
                tuple(map(str, mapped.about["files"])),
                NameTable.from_arrays(mapped.arrays),
                mapped.arrays["file"],
                mapped.arrays["start"],
                mapped.arrays["length"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path / INDEX, f"can't be read ({error})") from error
        items = {len(index.names), len(index.file), len(index.start), len(index.length), manifest.counts.get("items")}
        fits = len(items) == 1 and set(index.files) == set(manifest.files) - {INDEX}
        if not fits or manifest.config.get("space") not in get_args(Space) or not manifest.encoder:
            raise _damaged(path / INDEX, "doesn't fit manifest.json")
        return cls(path, manifest, index)

    @property
    def ids(self) -> Sequence[str]:
        """All ids, in order."""
        return self._index.names

    def __len__(self) -> int:
        return len(self._index.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._index.names)

    def __getitem__(self, name: str) -> FrameFeatures:
        """Return the features of one item: float32 unit rows, all valid. Raises InputError for an unknown id, or where
        its rows are no unit rows."""
        shard, start, end = self._find(name)
        times = shard.times[start:end]
        return FrameFeatures.unpadded(
            self._rows(shard.values[start:end], [name], end - start),
            self.space,
            self.encoder,
            None if np.isnan(times[0]) else torch.from_numpy(times.copy()),
        )

    def items(self) -> Iterator[tuple[str, FrameFeatures]]:
        """Yield all ids with their features, in the order in which they were written."""
        return ((name, self[name]) for name in self)

    def length(self, name: str) -> int:
        """Return the number of rows of an item. Raises InputError for an unknown id."""
        return self._index.length.item(self._number(name))

    def lengths(self, names: Sequence[str] | None = None) -> NDArray[np.int32]:
        """Return the number of rows of each item, int32 [n]; by default of all items. Raises InputError for unknown
        ids."""
        return self._index.length if names is None else self._index.length[self._numbers(names)]

    def rows(self, name: str) -> Tensor:
        """Return the values of one item, float32 [T, D] unit rows. Raises as `store[id]` does."""
        shard, start, end = self._find(name)
        return self._rows(shard.values[start:end], [name], end - start)

    def batch(self, ids: Sequence[str], frames: int) -> tuple[Tensor, Tensor]:
        """Read many items at once, each as `FrameFeatures.resample(frames)` makes it.

        Returns values, float32 [B, T, D], unit rows where valid and else zero, and which are valid, bool [B, T].
        Raises InputError that names the ids that have no features, or whose rows hold NaN or are no unit rows.
        """
        numbers = self._numbers(ids)
        valid = torch.from_numpy(np.arange(frames) < self._index.length[numbers][:, None])
        values = torch.empty(len(ids), frames, self.width)
        size = max(1, _BLOCK // frames)
        stored = np.empty((size, frames, self.width), np.float16)
        for start in range(0, len(ids), size):
            names = ids[start : start + size]
            part = stored[: len(names)]
            self._gather(part, numbers[start : start + size], frames)
            target = values[start : start + size].view(-1, self.width), valid[start : start + size].view(-1, 1)
            self._rows(part.reshape(-1, self.width), names, frames, target)
        return values, valid

    def shards(self) -> Iterator[Shard]:
        """Map its files, in their order. Raises ArtifactError for one that is damaged."""
        return (self._shard(number) for number in range(len(self._shards)))

    def pick(self, ids: Sequence[str], frames: Sequence[int]) -> Tensor:
        """Read single rows: frame frames[i] of item ids[i], float32 [len(ids), D]. Raises as `batch` does."""
        numbers = self._numbers(ids)
        values = np.empty((len(ids), self.width), np.float16)
        index = self._index
        places = zip(index.file[numbers].tolist(), (index.start[numbers] + np.asarray(frames)).tolist(), strict=True)
        for row, (file, place) in enumerate(places):
            values[row] = self._shard(file).values[place]
        return self._rows(values, ids, 1)

    def expect(self, encoder: str, space: Space) -> FeatureStore:
        """Return the store itself, where it is of this encoder and space; else raise ArtifactMismatch with the
        remedy."""
        if self.encoder != encoder:
            raise ArtifactMismatch(
                f"{self.path}: features were made by {self.encoder} ({self.width} wide); expected {encoder}. "
                f"Encode again: topa encode INPUT --encoder ENCODER --out DIR"
            )
        if self.space != space:
            source = {"text": "tideos.jsonl", "image": "VIDEO", "projected": "VIDEO"}[space]
            raise ArtifactMismatch(
                f"{self.path}: holds features of {self.space} space; expected {space} space. "
                f"Encode the other side: topa encode {source} --encoder ENCODER --out DIR"
            )
        return self

    def _gather(self, values: NDArray[np.float16], numbers: NDArray[np.int64], frames: int) -> None:
        """Fill float16 [B, T, D] with the rows of items, and with zeros behind an item's last row."""
        index = self._index
        places = zip(
            index.file[numbers].tolist(), index.start[numbers].tolist(), index.length[numbers].tolist(), strict=True
        )
        for target, (file, start, length) in zip(values, places, strict=True):
            source = self._shard(file).values
            if length <= frames:
                target[:length] = source[start : start + length]
                target[length:] = 0
            else:
                target[:] = source[start + np.arange(frames) * length // frames]

    def _rows(
        self,
        stored: NDArray[np.float16],
        names: Sequence[str],
        each: int,
        padded: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Float32 unit rows of stored ones [N, D], `each` of them of each name. padded: where to put the rows, and
        which of them are no padding, bool [N, 1]; padding is zero. Raises InputError with the names of bad rows."""
        stored_rows = torch.from_numpy(stored)
        rows = stored_rows.float() if padded is None else padded[0].copy_(stored_rows)
        lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        unit = (lengths - 1).abs() <= _UNIT  # NaN compares false
        if padded is not None:
            unit |= ~padded[1]
            lengths.clamp_min_(_TINY)
        if not unit.all():
            wrong = dict.fromkeys(names[row // each] for row in torch.nonzero(~unit[:, 0]).flatten().tolist())
            raise self._not_unit(list(wrong))
        return rows.div_(lengths)

    def _shard(self, number: int) -> Shard:
        shard = self._shards[number]
        if shard is None:
            path = self.path / self._index.files[number]
            shard = self._shards[number] = read_shard(path)
            # Rows are looked up by what the index says: it has to be right for all of them.
            own = np.flatnonzero(self._index.file == number)
            ends = self._index.start[own] + self._index.length[own]
            if shard.values.shape[1:] != (self.width,) or not np.array_equal(np.sort(ends), shard.ends):
                self._shards[number] = None
                raise _damaged(path, f"doesn't fit {INDEX}")
        return shard

    def _find(self, name: str) -> tuple[Shard, int, int]:
        number = self._number(name)
        start = self._index.start.item(number)
        return self._shard(self._index.file.item(number)), start, start + self._index.length.item(number)

    def _number(self, name: str) -> int:
        number = self._index.names.number(name)
        return number if number >= 0 else int(self._numbers([name])[0])

    def _numbers(self, names: Sequence[str]) -> NDArray[np.int64]:
        numbers = self._index.names.find(names)
        if (numbers < 0).any():
            unknown = [names[i] for i in np.flatnonzero(numbers < 0)[:3]]
            more = int((numbers < 0).sum()) - len(unknown)
            examples = ", ".join(map(repr, unknown)) + (f" and {more} more" if more else "")
            known = f"ids of it, e.g. {self.ids[0]!r}" if len(self) else "an id, but it is empty"
            raise InputError(
                f"{self.path}: found no features of {examples} among {len(self)} items; expected {known}. "
                "Encode it: topa encode INPUT --encoder ENCODER --out DIR"
            )
        return numbers

    def _not_unit(self, names: Sequence[str]) -> InputError:
        examples = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return InputError(
            f"{self.path}: features of {examples} hold NaN, infinite or non-unit rows; expected unit rows. "
            "Encode again: the same topa encode command writes damaged files anew."
        )


class FeatureStoreWriter:
    """A writer of a store, file by file, which `close` finishes. It removes an older store in the folder first.

    shard_rows: rows after which a file is full. Raises OutputError where the folder can't be written.
    """

    def __init__(self, folder: str | Path, encoder: str, width: int, space: Space, shard_rows: int = 1 << 16) -> None:
        self.path = output_folder(Path(folder), *FILES)
        remove(self.path / MANIFEST)
        for old in self.path.glob("features-*.safetensors"):
            remove(old)
        self._encoder, self._width, self._space = encoder, width, space
        self._shard_rows = shard_rows
        self._ids: dict[str, None] = {}
        self._files: list[str] = []
        self._rows = 0
        self._waiting: list[Item] = []

    def add(self, features: FrameFeatures, name: str) -> None:
        """Append one item; its padding is left out.

        Raises InputError where the id was there before or no frame is valid, ArtifactMismatch where the features are
        of another encoder, width or space.
        """
        signature = (features.encoder, features.width, features.space)
        expected = (self._encoder, self._width, self._space)
        if signature != expected:
            raise ArtifactMismatch(
                f"{self.path}: {name!r} has features (encoder, width, space) {signature}; expected {expected}. "
                "Encode all items of a store with one encoder."
            )
        if name in self._ids:
            raise InputError(f"{self.path}: found the id {name!r} twice; expected unique ids. Rename one of the two.")
        frames = torch.nonzero(features.valid).flatten()
        values = features.values.index_select(0, frames)
        if not len(values):
            raise InputError(f"{self.path}: {name!r} has no valid frame; expected at least one. Leave it out.")
        times = None if features.times is None else features.times.index_select(0, frames)
        self._waiting.append(Item(name, values.half(), times, len(self._ids)))
        self._ids[name] = None
        self._rows += len(values)
        if self._rows >= self._shard_rows:
            self._flush()

    def close(self, parents: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None) -> FeatureStore:
        """Finish the store: the manifest comes last. parents: hashes of what it was made from. config: how."""
        self._flush()
        return finish_store(self.path, self._files, self._encoder, self._width, self._space, parents, config)

    def _flush(self) -> None:
        if not self._waiting:
            return
        name = NAME.format(len(self._files))
        write_shard(self.path / name, self._waiting, self._width)
        self._files.append(name)
        self._waiting, self._rows = [], 0


def finish_store(
    folder: Path,
    files: Sequence[str],
    encoder: str,
    width: int,
    space: Space,
    parents: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    known: Mapping[str, str] | None = None,
) -> FeatureStore:
    """Make a store of existing files, named below `folder`; its items are in the order of their numbers.

    known: hashes of files that another manifest has.
    Raises ArtifactError for a file that isn't whole, InputError where two items have one id.
    """
    shards = [read_shard(folder / name) for name in files]
    lengths = [np.diff(shard.ends, prepend=0) for shard in shards]
    order = np.argsort(np.concatenate([np.empty(0, np.int64), *(shard.numbers for shard in shards)]), kind="stable")
    unsorted = [name for shard in shards for name in shard.names]
    names = NameTable.of(unsorted[number] for number in order.tolist())
    if (double := names.duplicate()) is not None:
        raise InputError(f"{folder}: found the id {names[double[0]]!r} twice; expected unique ids. Rename one of them.")

    def sorted_by_number(parts: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *parts]).astype(kind)[order]

    arrays = {
        **names.arrays(),
        "file": sorted_by_number([np.full(len(shard.ends), i) for i, shard in enumerate(shards)], np.int32),
        "start": sorted_by_number([shard.ends - own for shard, own in zip(shards, lengths, strict=True)], np.int64),
        "length": sorted_by_number(lengths, np.int32),
    }
    write_arrays(folder / INDEX, arrays, {"files": list(files)})
    manifest = Manifest(
        kind=KIND,
        encoder=encoder,
        width=width,
        normalised=True,
        counts={"items": len(names), "rows": int(arrays["length"].sum())},
        config={**(config or {}), "space": space},
        parents=dict(parents or {}),
    )
    finish(folder, manifest, [INDEX, *files], known)
    return FeatureStore.open(folder)


def _damaged(path: Path, what: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: found a file that {what}; expected a whole feature store. Encode again: the same topa encode "
        "command writes what is missing or damaged."
    )
