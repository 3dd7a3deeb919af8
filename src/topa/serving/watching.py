"""Videos watched once: decoded in a process of its own, encoded, read, and kept by the hash of their content.

Reads files of uploads and of the library, gives `ServedVideo` and pictures.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from PIL import Image

from ..core.errors import VideoError
from ..features.clips import Clip
from ..features.decoding import Decoders
from ..features.frames import FrameFeatures
from ..features.video import SampledVideo
from ..inference.engine import Topa
from .types import ServedVideo
from .uploads import Upload
from .worker import Worker

_SIDE = 320
"""Pixels of a picture's longer side at most."""
_PICTURES = 2048  # of about 10 kB each that are kept
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Counts:
    """What became of videos: found among those that are kept, or not; decoding that failed."""

    hits: int = 0
    misses: int = 0
    failures: int = 0


@dataclass(slots=True)
class _Making(Generic[_Value]):
    """A value that is being made, and how many wait for it."""

    task: asyncio.Task[_Value]
    waiting: int = 0


class Kept(Generic[_Value]):
    """The values used last, at most `most` of them; made once, also where several want one at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, _Value] = OrderedDict()
        self._making: dict[str, _Making[_Value]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._values

    async def get(self, key: str, make: Callable[[], Awaitable[_Value]]) -> _Value:
        """The value of a key, made where it isn't there. Raises what `make` raises, which is asked again next time."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = _Making(asyncio.ensure_future(self._make(key, make)))
        making.waiting += 1
        try:
            # Others may wait for it too: who goes doesn't take it along, unless it is the last one.
            return await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if not making.waiting:
                making.task.cancel()
                del self._making[key]

    def put(self, key: str, value: _Value) -> None:
        """Keep a value."""
        self._values[key] = value
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, key: str) -> None:
        """Keep it no longer."""
        self._values.pop(key, None)

    async def _make(self, key: str, make: Callable[[], Awaitable[_Value]]) -> _Value:
        value = await make()
        self.put(key, value)
        return value


class Watcher:
    """Watches videos for a model. kept: videos whose features are held. at_once: of which pictures are in memory."""

    def __init__(self, engine: Topa, worker: Worker, decoders: Decoders, kept: int, at_once: int) -> None:
        self._engine = engine
        self._worker = worker
        self._decoders = decoders
        self._watched: Kept[ServedVideo] = Kept(kept)
        self._pictures: Kept[bytes] = Kept(_PICTURES)
        self._room = asyncio.Semaphore(at_once)
        self.counts = Counts()

    async def watch(self, upload: Upload) -> ServedVideo:
        """An upload as the model sees it. Raises VideoError where it can't be decoded, or costs more than is
        allowed."""
        self._count(upload.id)
        watched = await self._watched.get(upload.id, lambda: self._watch(upload))
        return replace(watched, name=upload.name)  # equal content may have come under another name before

    async def of_library(self, id: str, make: Callable[[], Awaitable[ServedVideo]]) -> ServedVideo:
        """A video of the library as the model sees it."""
        self._count(id)
        return await self._watched.get(id, make)

    def forget(self, id: str) -> None:
        """Keep nothing of a video but pictures, which nobody can ask for any more."""
        self._watched.forget(id)

    async def picture(self, decoders: Decoders, id: str, path: Path, at: float) -> bytes:
        """The picture that a player shows at a second, as JPEG. decoders: who may open the file.

        Raises VideoError where there is none.
        """

        async def make() -> bytes:
            sampled = await self._decode(decoders, id, path, 1, at)
            return (await asyncio.to_thread(_thumbnails, sampled.frames))[0]

        return await self._pictures.get(_name(id, at), make)

    def _count(self, id: str) -> None:
        if id in self._watched:
            self.counts.hits += 1
        else:
            self.counts.misses += 1

    async def _watch(self, upload: Upload) -> ServedVideo:
        engine = self._engine
        async with self._room:  # pictures of a large video take 30 MB each
            sampled = await self._decode(self._decoders, upload.name, upload.path, engine.config.frames)
            pictures = await asyncio.to_thread(_thumbnails, sampled.frames)
            values = await self._worker.encode(sampled.frames)
        times = torch.tensor(sampled.times, dtype=torch.float64)
        image = FrameFeatures.image(values, engine.encoder.identity, times)
        # Only features are kept, never the pictures as they were decoded.
        inputs = await self._worker.call(lambda: engine.inputs_of(image, truncated=sampled.truncated))
        for time, picture in zip(sampled.times, pictures, strict=True):
            self._pictures.put(_name(upload.id, time), picture)
        info = sampled.info
        return ServedVideo(
            upload.id,
            "upload",
            upload.name,
            upload.bytes,
            upload.created,
            info.duration_s,
            info.width,
            info.height,
            sampled.truncated,
            inputs.readings,
            inputs,
        )

    async def _decode(
        self, decoders: Decoders, name: str, path: Path, frames: int, at: float | None = None
    ) -> SampledVideo:
        clip = Clip(name, str(path)) if at is None else Clip(name, str(path), at, at + 1e-3)
        try:
            return await asyncio.wrap_future(decoders.submit(clip, frames))
        except VideoError as error:
            self.counts.failures += 1
            raise VideoError(str(error).replace(str(path), name)) from error


def _thumbnails(pictures: Sequence[Image.Image]) -> list[bytes]:
    found = []
    for picture in pictures:
        small = picture.convert("RGB")
        small.thumbnail((_SIDE, _SIDE))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=85)
        found.append(file.getvalue())
    return found


def _name(id: str, at: float) -> str:
    return f"{id}@{at:.3f}"
