"""Requests about the videos of a library: over all of them, or about one, and not a frame is decoded.

Reads what a library holds (`contents`) and the moments that a search finds, gives `Request`s for `Topa.answer`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from ..core.cache import LruCache
from ..core.command import command_line
from ..core.errors import InputError, UsageError
from ..core.protocols import Protocol
from ..features.relevance import query, top_k
from ..features.subtitles import Cue, find_subtitles, read_subtitles, subtitle_excerpt
from ..inference.engine import Topa
from ..inference.frame_selection import (
    BY_QUESTION,
    SEGMENTS,
    FrameSelection,
    check_frame_selection,
    segment,
    select_frames,
)
from ..inference.projected_video import ProjectedVideo
from ..inference.request import GenerationSettings, Request, check_question
from ..inference.video_inputs import Segment, SegmentedInputs, VideoInputs
from .contents import Contents, Moment, Video

Search = Callable[[Tensor, int], Sequence[Moment]]
"""Finds moments by a query, float32 [D], a unit row of text space: so many at most, best first."""
_MAX_VIDEOS = 16  # whose frames stay projected


class LibraryRequests:
    """Builds requests for one engine. search: finds the moments that questions over all videos read; questions about
    one video need none."""

    def __init__(self, engine: Topa, contents: Contents, search: Search | None = None) -> None:
        self.engine = engine
        self.contents = contents
        self.search = search
        self._videos: LruCache[str, ProjectedVideo] = LruCache(_MAX_VIDEOS)

    def over_all(
        self,
        question: str,
        choices: Sequence[str] = (),
        *,
        top: int = SEGMENTS,
        subtitles: bool = False,
        protocol: Protocol | None = None,
        max_tokens: int | None = None,
    ) -> Request:
        """Ask over the moments that are most like the question; `parts` of the answer cite them.

        top: number of moments that are read. A moment of fewer frames than the model reads gets its neighbours; one
        that another then overlaps is left out. subtitles: also read what is said in a moment, where there are subtitles
        beside the video. Raises UsageError for `top` below 1, InputError where nothing is found or for what
        `check_question` refuses, ArtifactMismatch for a library of another encoder.
        """
        check_question(question, choices)
        if self.search is None:
            raise UsageError("ask: found no search; expected one to find moments by. Ask about one video: --video PATH")
        if top < 1:
            raise UsageError(f"ask: found top={top}; expected 1 or more moments to read.")
        options = tuple(choice.strip() for choice in choices)
        looked_for = query(question, options, self.engine.encoder.encode_texts)
        moments = self.search(looked_for, top)
        if not moments:
            raise InputError(
                f"{self.contents.root}: found no moment in {len(self.contents)} videos; expected one or more to read. "
                "Add videos: topa index VIDEOS --out LIBRARY"
            )
        segments: list[Segment] = []
        taken: list[tuple[ProjectedVideo, int, int]] = []
        for moment in moments:
            video = self.video(moment.video)
            start, end = self._frames(video, moment)
            if all(other is not video or last <= start or end <= first for other, first, last in taken):
                taken.append((video, start, end))
                similarity = top_k(video.values(start, end), looked_for, [(0, end - start)], 1)[0][1]
                cues = self._cues(moment.video) if subtitles else ()
                segments.append(segment(video, start, end, similarity, path=moment.video.path, cues=cues))
        inputs = SegmentedInputs(tuple(segments), "search")
        return Request(inputs, question, options, protocol, generation=GenerationSettings(max_tokens))

    def about(
        self,
        video: Video | str | Path,
        question: str | None,
        choices: Sequence[str] = (),
        *,
        frame_selection: FrameSelection = "uniform",
        subtitles: bool = False,
        protocol: Protocol | None = None,
        max_tokens: int | None = None,
    ) -> Request:
        """Ask about one video, by its features alone. video: itself, or its path, see `find`. subtitles: also read what
        is said at the frames, or in the segments, that are read. Raises as `check_question` and `find` do."""
        if question is not None:
            check_question(question, choices)
        check_frame_selection(frame_selection)
        own = video if isinstance(video, Video) else find(self.contents, video)
        cues = self._cues(own) if subtitles else ()
        options = tuple(choice.strip() for choice in choices)
        looked_for = None
        if question is not None and frame_selection in BY_QUESTION:
            looked_for = query(question, options, self.engine.encoder.encode_texts)
        inputs = select_frames(self.video(own), frame_selection, looked_for, cues)
        speech = subtitle_excerpt(cues, inputs.times) if cues and isinstance(inputs, VideoInputs) else ""
        settings = GenerationSettings(max_tokens)
        return Request(inputs, question, options, protocol, subtitles=speech, generation=settings)

    def video(self, video: Video) -> ProjectedVideo:
        """Return all frames of a video that have features. Those of the videos asked about last stay projected."""
        return self._videos.get_or_make(video.id, lambda: ProjectedVideo(self.engine, self.contents.features(video)))

    def _frames(self, video: ProjectedVideo, moment: Moment) -> tuple[int, int]:
        """The first frame of a moment and the one behind it, with neighbours where it has too few for the model."""
        times = video.image.times
        assert times is not None, "a library's features have times"
        inside = ((times >= moment.start) & (times <= moment.end)).nonzero().flatten()
        best = int((times - (moment.frames[0] if moment.frames else moment.start)).abs().argmin())
        start, end = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (best, best + 1)
        missing = self.engine.config.frames - (end - start)
        if missing > 0:
            start = max(0, min(start - missing // 2, len(video) - self.engine.config.frames))
            end = min(len(video), start + self.engine.config.frames)
        return start, end

    def _cues(self, video: Video) -> tuple[Cue, ...]:
        path = find_subtitles(self.contents.file(video))
        return () if path is None else read_subtitles(path)


def find(contents: Contents, path: str | Path) -> Video:
    """Return a video by its path in the library, by where its file is, or by the end of its path where only one has it.

    Raises InputError for an unknown path, with the nearest known one, or one that several videos have.
    """
    wanted = Path(path)
    for video in contents.videos:
        if Path(video.path) == wanted or contents.file(video).absolute() == wanted.absolute():
            return video
    parts = wanted.parts
    ends = [v for v in contents.videos if parts and Path(v.path).parts[-len(parts) :] == parts]
    if len(ends) == 1:
        return ends[0]
    if ends:
        shown = ", ".join(video.path for video in ends[:3])
        raise InputError(f"{path}: found {len(ends)} videos of that name: {shown}; expected one. Give more of it.")
    near = difflib.get_close_matches(str(path), [video.path for video in contents.videos], 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(
        f"{path}: found no such video among {len(contents)} of the library in {contents.root}; expected "
        f"one of them.{hint} Add it: {command_line('index', path, '--out', 'LIBRARY')}"
    )
