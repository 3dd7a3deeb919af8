"""What a library holds, as searching, asking and explaining read it: videos, and a vector for each of their frames.

Made by `topa index`; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import ArtifactMismatch, InputError
from ..features.frames import FrameFeatures
from ..features.store import FeatureStore


@dataclass(frozen=True, slots=True)
class Video:
    """id: a hash of the file's content, by which its features are kept. path: as it is shown, and found below the
    library's root. duration: seconds. frames: how many have a vector."""

    id: str
    path: str
    duration: float
    frames: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors of some frames: values float16 [N, D], unit rows in image space, memory-mapped; video int32 [N]: which
    video each is of, -1 for one that the library no longer has; times float64 [N] seconds, ascending in a video."""

    values: NDArray[np.float16]
    video: NDArray[np.int32]
    times: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """A part of a video that answers a search. start, end: seconds. score: the larger the better; what it is says the
    search. frames: times of the frames in it, the best one first."""

    video: Video
    start: float
    end: float
    score: float
    frames: tuple[float, ...]


class Contents:
    """Videos in the order of their paths, and their features in image space.

    stores: hold the features of all videos, by their ids, and perhaps of others. root: the folder of the paths.
    Raises ArtifactMismatch for stores of unlike encoders, InputError for a video without features.
    """

    def __init__(self, stores: Sequence[FeatureStore], videos: Sequence[Video], root: Path) -> None:
        self.root = root
        self.videos: tuple[Video, ...] = tuple(sorted(videos, key=lambda video: video.path))
        if strange := {store.encoder for store in stores[1:]} - {stores[0].encoder}:
            raise ArtifactMismatch(
                f"{stores[0].path}: is of {stores[0].encoder}, another part of {min(strange)}; expected one encoder. "
                "Index the videos again: topa index VIDEOS --out ANOTHER"
            )
        self._stores = tuple(store.expect(stores[0].encoder, "image") for store in stores)
        self._of = {name: store for store in self._stores for name in store}
        if missing := next((video for video in self.videos if video.id not in self._of), None):
            raise InputError(
                f"{missing.path}: found no features of it; expected some. Index it again: topa index --out LIBRARY"
            )
        self.encoder = self._stores[0].encoder
        self.width = self._stores[0].width

    def __len__(self) -> int:
        return len(self.videos)

    def features(self, video: Video) -> FrameFeatures:
        """Of all frames of a video that have a vector, with their times."""
        return self._of[video.id][video.id]

    def file(self, video: Video) -> Path:
        """Where the video is; it may have gone since."""
        return self.root / video.path

    def rows(self) -> Iterator[Rows]:
        """All vectors, a file of them at a time, nothing copied."""
        numbers = {video.id: number for number, video in enumerate(self.videos)}
        for store in self._stores:
            for shard in store.shards():
                lengths = np.diff(shard.ends, prepend=0)
                owners = np.array([numbers.get(name, -1) for name in shard.names], np.int32)
                yield Rows(shard.values, np.repeat(owners, lengths), shard.times)
