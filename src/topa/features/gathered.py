"""Features of videos and of parts of videos, made as they are asked for: a folder that grows.

Reads video files, writes a feature store for every few of them, so that a run that is killed loses only those. Made
for labelled videos, whose list is another from run to run.

    part-00000/   a feature store; its manifest also has the size of each video (config "bytes": id to number)

A folder that `topa encode` left, one store, is read as well.
"""

from __future__ import annotations

import fcntl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from ..core.artifacts import MANIFEST, output_folder
from ..core.errors import ArtifactMismatch, InputError, OutputError, UsageError
from ..core.progress import bar
from .encode import EncodedVideo, encode_video
from .encoder import Encoder
from .frames import FrameFeatures
from .store import FeatureStore, FeatureStoreWriter

_PART = 256  # clips of a part
_PART_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, or the part of it from start to end, in seconds. name: what the video is called in its data set."""

    name: str
    path: Path
    start: float | None = None
    end: float | None = None

    @classmethod
    def of(cls, path: Path, folder: Path, start: float | None, end: float | None) -> Clip:
        """A video of a folder, named by its path in there."""
        inside = path.relative_to(folder) if path.is_relative_to(folder) else path
        return cls(Path(normpath(inside)).as_posix(), path, start, end)

    @property
    def id(self) -> str:
        """Equal for equal parts of equal videos: `name`, or `name#1.5-8`."""
        if self.start is None and self.end is None:
            return self.name
        start, end = ("" if s is None else f"{s:.10g}" for s in (self.start, self.end))
        return f"{self.name}#{start}-{end}"


class ClipFeatures:
    """The features in a folder, by the id of their clip. Raises ArtifactMismatch for those of another encoder or
    number of frames, ArtifactError for a store that is damaged."""

    def __init__(self, folder: Path, encoder: str, frames: int) -> None:
        self.folder = folder
        self._of: dict[str, FeatureStore] = {}
        self._bytes: dict[str, int] = {}
        for path in ([folder] if (folder / MANIFEST).is_file() else []) + parts_of(folder):
            store = FeatureStore.open(path).expect(encoder, "image")
            found = store.manifest.config.get("frames", frames)
            if found != frames:
                raise ArtifactMismatch(
                    f"{path}: holds {found} frames of each video; expected {frames}, as the model reads. Name another "
                    "folder with --features, or leave that out to have the videos encoded."
                )
            self._of |= dict.fromkeys(store, store)
            self._bytes |= store.manifest.config.get("bytes", {})

    def __contains__(self, clip: object) -> bool:
        """Whether there are features of this clip, and its video, where it is there, hasn't got another size."""
        if not isinstance(clip, Clip) or clip.id not in self._of:
            return False
        return clip.id not in self._bytes or _size(clip.path) in (None, self._bytes[clip.id])

    def __getitem__(self, clip: Clip) -> FrameFeatures:
        """Image space. Raises InputError where there are none, or they aren't finite unit rows."""
        if clip.id not in self._of:
            raise InputError(f"{self.folder}: found no features of {clip.id!r}. Encode it: topa encode")
        try:
            return self._of[clip.id][clip.id]
        except InputError as error:
            raise InputError(f"{self._of[clip.id].path}: {clip.id!r}: {error}") from error


def encode_clips(
    clips: Iterable[Clip],
    load: Callable[[], Encoder],
    identity: str,
    frames: int,
    folder: Path,
    *,
    workers: int = 1,
    show: bool = True,
) -> tuple[ClipFeatures, dict[str, str]]:
    """The features of all clips in `folder`, those that are missing encoded; and why some have none, by clip id.

    load: gives the encoder, and is called only where something is missing. identity: the one it must have. frames: of
    each clip. workers: videos decoded at the same time; the result is the same.
    Raises ArtifactMismatch for an encoder of another identity, and what `ClipFeatures` raises; OutputError where
    `folder` can't be written, or another process is encoding into it.
    """
    wanted = {clip.id: clip for clip in clips}
    known = ClipFeatures(folder, identity, frames)
    missing = [clip for clip in wanted.values() if clip not in known]
    failed: dict[str, str] = {}
    if not missing:
        return known, failed
    if workers < 1:
        raise UsageError(f"encode: found workers={workers}; expected 1 or more. Ask for more.")
    encoder = load()
    if encoder.identity != identity:
        raise ArtifactMismatch(
            f"the model was aligned with the encoder {identity}; found {encoder.identity} under its name. Put the "
            "same encoder there, or align again with this one: topa align"
        )
    output_folder(folder)
    with (
        _alone(folder),
        ThreadPoolExecutor(workers) as pool,
        bar("encoding videos", len(missing), show=show) as line,
        _Parts(folder, identity, encoder.width, frames) as parts,
    ):
        for clip, encoding in _ahead(pool, missing, encoder, frames, workers):
            try:
                parts.add(clip, encoding.result().features)
            except (InputError, UsageError) as error:
                failed[clip.id] = str(error)
            line.advance(note=f"{len(failed)} failed" if failed else None)
    return ClipFeatures(folder, identity, frames), failed


def parts_of(folder: Path) -> list[Path]:
    """The finished parts of a folder, the oldest first."""
    return sorted(path for path in folder.glob("part-*") if (path / MANIFEST).is_file())


class _Parts:
    """Writes clips into the next parts of a folder; a part is finished when it is full or old enough, and at the end,
    also where that is an error."""

    def __init__(self, folder: Path, encoder: str, width: int, frames: int) -> None:
        self._folder, self._encoder, self._width, self._frames = folder, encoder, width, frames
        self._writer: FeatureStoreWriter | None = None
        self._bytes: dict[str, int] = {}
        self._began = 0.0

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def add(self, clip: Clip, features: FrameFeatures) -> None:
        if self._writer is None:
            numbers = [int(path.name.removeprefix("part-")) for path in parts_of(self._folder)]
            number = max(numbers, default=-1) + 1
            self._writer = FeatureStoreWriter(self._folder / f"part-{number:05d}", self._encoder, self._width, "image")
            self._began = time.monotonic()
        self._writer.add(features, clip.id)
        self._bytes[clip.id] = _size(clip.path) or 0
        if len(self._bytes) == _PART or time.monotonic() - self._began > _PART_SECONDS:
            self._finish()

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close(config={"frames": self._frames, "bytes": self._bytes})
            self._writer, self._bytes = None, {}


def _ahead(
    pool: ThreadPoolExecutor, clips: Iterable[Clip], encoder: Encoder, frames: int, workers: int
) -> Iterator[tuple[Clip, Future[EncodedVideo]]]:
    """Clips in order, encoded a few ahead of their use: never all in memory."""
    waiting: deque[tuple[Clip, Future[EncodedVideo]]] = deque()
    for clip in clips:
        waiting.append((clip, pool.submit(encode_video, clip.path, encoder, frames, start=clip.start, end=clip.end)))
        if len(waiting) > workers:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time numbers the parts. The kernel lets go of the lock when a process ends."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{folder}: another process is encoding into it. Wait for its end, or name another folder with "
                "--features."
            ) from error
        yield


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
