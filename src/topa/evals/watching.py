"""Features of the videos that a benchmark asks about: those at hand, and those that are decoded and encoded now.

Reads video files through processes that decode ahead of the encoder; what was encoded stays in a folder (see
`features.feature_cache`), a part for each block of questions, for the next run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from ..core.errors import InputError
from ..features.clips import Clip, clip_below
from ..features.decoding import decoders
from ..features.encoder import Encoder
from ..features.feature_cache import FeatureCache
from ..features.frames import FrameFeatures
from ..features.store import FeatureStoreWriter
from .example import Example
from .released import PublishedFeatures, Rows

MISSING = "the video is missing"
"""How the reason begins where a file isn't there: it may come."""

Watched = Mapping[str, FrameFeatures | str]
"""By clip: features in image space, or why there are none."""


class Watching(Protocol):
    """A source of features. frames: of each clip."""

    @property
    def frames(self) -> int:
        """Of each clip."""
        ...

    def clip(self, example: Example) -> str:
        """The clip that a record is about; records of one clip share its features."""
        ...

    def missing(self, examples: Sequence[Example]) -> list[str]:
        """What can't be had for want of a video, or of its released features: each once."""
        ...

    def watch(self, blocks: Sequence[Sequence[Example]]) -> Iterator[Watched]:
        """The features of each block in turn, some made ahead: each block names one record of each of its clips."""
        ...


def clip_of(example: Example, data: Path) -> Clip:
    """What a record is about; data: the folder that its id starts from."""
    return clip_below(data, example.path, example.start, example.end, example.fps)


@dataclass(frozen=True, slots=True)
class ReleasedFeatures:
    """Features that were published with a benchmark. rows: `Benchmark.rows`. frames: of each clip, taken as the
    released code does; fewer are padded."""

    released: PublishedFeatures
    rows: Rows
    frames: int

    def clip(self, example: Example) -> str:
        """The video, and the part of it."""
        return f"{example.video}#{example.start}-{example.end}"

    def missing(self, examples: Sequence[Example]) -> list[str]:
        """Videos without released features."""
        return list(dict.fromkeys(example.video for example in examples if example.video not in self.released))

    def watch(self, blocks: Sequence[Sequence[Example]]) -> Iterator[Watched]:
        """Read, some ahead."""
        for block in blocks:
            yield {self.clip(example): self._features(example) for example in block}

    def _features(self, example: Example) -> FrameFeatures | str:
        try:
            return self.released.features(example, self.rows).resample(self.frames)
        except InputError as error:
            return str(error)


@dataclass(slots=True)
class Videos:
    """Features made of video files. folder: what is at hand, and where more goes. frames: of each clip. workers:
    processes that decode. truncated: clips so far whose file is damaged; the part that could be read was used.

    Raises ArtifactMismatch where the folder holds features of another encoder or number of frames.
    """

    encoder: Encoder
    data: Path
    folder: Path
    frames: int
    workers: int = 1
    truncated: list[str] = field(default_factory=list)
    _known: FeatureCache = field(init=False)

    def __post_init__(self) -> None:
        self._known = FeatureCache(self.folder, self.encoder.identity, self.frames)

    def clip(self, example: Example) -> str:
        """The id of `clip_of`."""
        return clip_of(example, self.data).id

    def missing(self, examples: Sequence[Example]) -> list[str]:
        """Files that aren't there, of clips without features."""
        clips = [clip_of(example, self.data) for example in examples]
        return list(dict.fromkeys(clip.path for clip in clips if clip.id not in self._known and not _there(clip)))

    def watch(self, blocks: Sequence[Sequence[Example]]) -> Iterator[Watched]:
        """Videos are decoded a few ahead, over the ends of blocks. What was encoded is read back from the disk, so that
        it has the same bits as in the next run."""
        wanted = [[clip_of(example, self.data) for example in block] for block in blocks]
        gone = {clip.id for block in wanted for clip in block if clip.id not in self._known and not _there(clip)}
        new = [clip for block in wanted for clip in block if clip.id not in self._known and clip.id not in gone]
        with decoders(self.workers) as pool:
            decoded = pool.ahead(new, self.frames)
            for block in wanted:
                failed = {clip.id: f"{MISSING}: {clip.path}" for clip in block if clip.id in gone}
                made: dict[str, FrameFeatures] = {}
                for clip in block:
                    if clip.id in self._known or clip.id in gone:
                        continue
                    _, decoding = next(decoded)
                    try:
                        sampled = decoding.result()
                    except InputError as error:
                        failed[clip.id] = str(error)
                        continue
                    values = self.encoder.encode_images(sampled.frames)
                    times = torch.tensor(sampled.times, dtype=torch.float64)
                    made[clip.id] = FrameFeatures.image(values, self.encoder.identity, times)
                    if sampled.truncated:
                        self.truncated.append(clip.id)
                self._keep(made)
                yield {clip.id: failed.get(clip.id) or self._read(clip.id) for clip in block}

    def _read(self, name: str) -> FrameFeatures | str:
        try:
            return self._known[name]
        except InputError as error:
            return str(error)

    def _keep(self, made: Mapping[str, FrameFeatures]) -> None:
        if not made:
            return
        named = hashlib.sha256("\n".join(made).encode()).hexdigest()[:16]
        writer = FeatureStoreWriter(self.folder / f"part-{named}", self.encoder.identity, self.encoder.width, "image")
        for name, features in made.items():
            writer.add(features, name)
        self._known.add(writer.close(config={"frames": self.frames}))


def _there(clip: Clip) -> bool:
    return Path(clip.path).exists()
