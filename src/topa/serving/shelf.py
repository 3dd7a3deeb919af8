"""The library of a server: its videos under ids, found and asked about without decoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..core.protocols import Protocol
from ..inference.answer import Answer
from ..inference.engine import Topa
from ..inference.frame_selection import select_frames
from ..inference.video_inputs import VideoInputs
from ..library.contents import Contents, Moment, Video
from ..library.requests import LibraryRequests
from ..library.search import Filter, Search
from .errors import RequestError
from .types import VideoEntry


class Shelf:
    """Every method but `entries`, `entry` and `file` runs the model, or uses what it keeps: call them in its thread.

    Raises ArtifactMismatch for a library of another encoder than the model's.
    """

    def __init__(self, engine: Topa, contents: Contents) -> None:
        self._engine = engine
        self._contents = contents
        self._search = Search(contents, memory=engine.memory, temperature=engine.config.temperature)
        self._requests = LibraryRequests(engine, contents, lambda query, top: self._search.moments(query[None], top)[0])
        self._videos = {identify(video): video for video in contents.videos}
        self._requests.video(contents.videos[0]).inputs([0])  # here and not at the first request

    def video(self, id: str) -> Video:
        """Raises RequestError for an unknown one."""
        try:
            return self._videos[id]
        except KeyError:
            raise RequestError(
                f"video: found no {id} in the library; expected an id that GET /v1/videos lists.",
                status=404,
                code="video_not_found",
                param="video",
            ) from None

    def entry(self, video: Video) -> VideoEntry:
        """A video as it is listed."""
        try:
            told = self._contents.file(video).stat()
            size, changed = told.st_size, int(told.st_mtime)
        except OSError:  # it may be on another machine: its vectors suffice
            size, changed = 0, 0
        return VideoEntry(identify(video), "library", video.path, size, changed, video.duration)

    def entries(self, after: str | None, limit: int) -> tuple[list[VideoEntry], bool]:
        """Videos in the order of their paths, behind one of them; and whether there are more."""
        ids = list(self._videos)
        start = 0
        if after is not None:
            self.video(after)
            start = ids.index(after) + 1
        shown = ids[start : start + limit]
        return [self.entry(self._videos[id]) for id in shown], start + limit < len(ids)

    def file(self, video: Video) -> Path:
        """Where the video is; it may have gone."""
        return self._contents.file(video)

    def inputs(self, video: Video) -> VideoInputs:
        """Return evenly spread frames, as many as the model reads."""
        inputs = select_frames(self._requests.video(video), "uniform")
        assert isinstance(inputs, VideoInputs)
        return inputs

    def ask(
        self, question: str, choices: Sequence[str], top: int, protocol: Protocol | None, max_tokens: int
    ) -> tuple[Answer, tuple[str, ...]]:
        """An answer over all videos, and the ids of the videos of its parts."""
        request = self._requests.over_all(question, choices, top=top, protocol=protocol, max_tokens=max_tokens)
        (answer,) = self._engine.answer([request])
        ids = {video.path: id for id, video in self._videos.items()}
        return answer, tuple(ids[part.video] for part in answer.parts)

    def search(self, query: str, top: int, where: Filter, video: Video | None) -> list[Moment]:
        """The best moments for words, of all videos or of one."""
        words = self._engine.encoder.encode_texts([query])
        if video is not None:
            return self._search.when(video, words[0], top)
        return self._search.moments(words, top, where)[0]


def identify(video: Video) -> str:
    """The id of a video of a library: of its path, so that equal files have two."""
    return "lib_" + hashlib.sha256(video.path.encode()).hexdigest()[:24]
