"""What a run encodes: the Tideos of files, or clips of videos. A chunk of them becomes one file of the store.

Items have numbers, from 0 on. `config` is what tells one run from another, without the encoder; `parents` a hash of
what the items are, by its role. What a chunk becomes depends on its items, and on the captions of those before it,
never on where a run was cut off.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.artifacts import sha256
from ..core.errors import InputError
from ..core.string_table import NameTable
from ..tideos.index import TideoFile
from ..tideos.tideo import Tideo
from .captions import SCRATCH, Captions
from .clips import Clip
from .decoding import decoders
from .encoder import Encoder
from .frames import Space
from .fusion import Fusion, fuse
from .shard import Item

_TOGETHER = 4096  # captions that are encoded, and kept, together: enough of a like length, little to lose
_FUSED = 128  # Tideos whose captions' rows are in float32 at a time


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item is not in the store. file: size and time of change of its file then, None where there was none."""

    reason: str
    file: tuple[int, int] | None


@dataclass(slots=True)
class Encoded:
    """One chunk. failed: by id. truncated: ids of damaged videos that were used. cut: captions that were cut."""

    items: list[Item] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    truncated: list[str] = field(default_factory=list)
    cut: int = 0


Step = Callable[[int], None]
"""Told how many items more have been encoded."""


class TideoSource:
    """Tideos of one or more files. Raises InputError where one can't be used, or an id comes twice."""

    noun = "Tideos"
    space: Space = "text"

    def __init__(self, paths: Sequence[Path], fusion: Fusion, chunk: int | None = None, *, show: bool = True) -> None:
        self.chunk = chunk or 1024
        self.paths = [str(path.absolute()) for path in paths]
        self._files = [TideoFile.open(path, show=show) for path in paths]
        self._ends = list(accumulate(map(len, self._files)))
        self._fusion = fusion
        if len(paths) > 1:
            ids = NameTable.of(name for file in self._files for name in file.ids)
            if (double := ids.duplicate()) is not None:
                first, second = (self._where(number) for number in double)
                raise InputError(
                    f"{second}: found the id {ids[double[1]]!r}, which is also in {first}; expected ids that differ. "
                    "Rename one of them, or encode the files into two folders."
                )

    def __len__(self) -> int:
        return self._ends[-1]

    @cached_property
    def parents(self) -> dict[str, str]:
        """A hash of the texts."""
        return {"tideos_file": self.hash([file.path for file in self._files])}

    @staticmethod
    def hash(paths: Sequence[Path]) -> str:
        """Return the SHA-256 of a file; of several files, that of theirs in a row."""
        hashes = [sha256(path) for path in paths]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    @property
    def config(self) -> dict[str, Any]:
        """The identity of the texts, not where they lie."""
        return {**self.parents, "items": len(self), "fusion": self._fusion}

    def same(self, failed: Mapping[str, Failure]) -> bool:
        """Return whether nothing failed: no Tideo does."""
        return not failed

    def encode(
        self, chunks: Sequence[Sequence[int]], encoder: Encoder, folder: Path, batch_size: int | None, step: Step
    ) -> Iterator[Encoded]:
        """Encode each frame as one row; see `topa.features.fusion`. Captions are encoded once in all chunks."""
        with Captions(folder / SCRATCH, encoder, batch_size or 256) as captions:
            for numbers in chunks:
                yield self._chunk(numbers, captions, step)

    def _chunk(self, numbers: Sequence[int], cache: Captions, step: Step) -> Encoded:
        tideos = [self._tideo(number) for number in numbers]
        captions_of = [[self._captions_of(frame) for frame in tideo.frames] for tideo in tideos]
        distinct = list(dict.fromkeys(text for frames in captions_of for texts in frames for text in texts))
        place = {text: row for row, text in enumerate(distinct)}
        rows, cut = cache.empty(len(distinct))
        for start in range(0, len(distinct), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            rows[part], cut[part] = cache.rows(distinct[part])
            step(
                len(tideos) * min(start + _TOGETHER, len(distinct)) // len(distinct)
                - len(tideos) * start // len(distinct)
            )
        chunk = Encoded()
        for start in range(0, len(tideos), _FUSED):
            some = captions_of[start : start + _FUSED]
            counts = [len(texts) for frames in some for texts in frames]
            places = np.array([place[text] for frames in some for texts in frames for text in texts])
            chunk.cut += int(cut[places].sum())
            values = fuse(torch.from_numpy(rows[places]).float(), counts, self._fusion)
            split = torch.split(values, [len(frames) for frames in some])
            for number, own in enumerate(split, start=start):
                chunk.items.append(Item(tideos[number].id, own.half(), None, numbers[number]))
        return chunk

    def _captions_of(self, frame: Any) -> list[str]:
        return [frame.caption, *frame.objects] if self._fusion == "mean" else [frame.caption]

    def _tideo(self, number: int) -> Tideo:
        file = bisect_right(self._ends, number)
        return self._files[file][number - (self._ends[file - 1] if file else 0)]

    def _where(self, number: int) -> str:
        file = bisect_right(self._ends, number)
        return f"{self._files[file].path}:{number - (self._ends[file - 1] if file else 0) + 1}"


class ClipSource:
    """Clips of videos, `frames` pictures each, decoded by `workers` processes."""

    noun = "videos"
    space: Space = "image"

    def __init__(
        self, clips: Sequence[Clip], paths: Sequence[Path], frames: int, workers: int, chunk: int | None = None
    ) -> None:
        self.chunk = chunk or 256
        self.paths = [str(path) for path in paths]
        self._clips, self._frames, self._workers = clips, frames, workers

    def __len__(self) -> int:
        return len(self._clips)

    @cached_property
    def parents(self) -> dict[str, str]:
        """A hash of the list, not of the files."""
        digest = hashlib.sha256()
        for clip in self._clips:
            pictures = "" if clip.fps is None else f" {clip.fps}"
            digest.update(f"{clip.id!r} {clip.start} {clip.end}{pictures}\n".encode())
        return {"videos": digest.hexdigest()}

    @property
    def config(self) -> dict[str, Any]:
        """The list of videos, and the number of frames."""
        return {**self.parents, "items": len(self), "frames": self._frames}

    def same(self, failed: Mapping[str, Failure]) -> bool:
        """Return whether none of the files that failed has changed, or appeared, since."""
        if not failed:
            return True
        paths = {clip.id: clip.path for clip in self._clips if clip.id in failed}
        return all(_state(paths[name]) == failure.file for name, failure in failed.items() if name in paths)

    def encode(
        self, chunks: Sequence[Sequence[int]], encoder: Encoder, folder: Path, batch_size: int | None, step: Step
    ) -> Iterator[Encoded]:
        """Encode each picture as one row; while a video is encoded, the next ones are decoded, also those of other
        chunks."""
        clips = (self._clips[number] for numbers in chunks for number in numbers)
        with decoders(self._workers) as pool:
            decoded = pool.ahead(clips, self._frames)
            for numbers in chunks:
                chunk = Encoded()
                for number in numbers:
                    clip, decoding = next(decoded)
                    try:
                        sampled = decoding.result()
                    except InputError as error:
                        chunk.failed[clip.id] = Failure(str(error), _state(clip.path))
                    else:
                        values = encoder.encode_images(sampled.frames, batch_size or 32)
                        times = torch.tensor(sampled.times, dtype=torch.float64)
                        chunk.items.append(Item(clip.id, values.half(), times, number))
                        if sampled.truncated:
                            chunk.truncated.append(clip.id)
                    step(1)
                yield chunk


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


Source = TideoSource | ClipSource
