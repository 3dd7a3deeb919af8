"""Which frames of a video the model reads, of many that are encoded.

uniform         evenly spread, the paper's way
scenes          those that stand for the scenes of the video (`features.keyframes`)
question        like the question and unlike each other (`features.relevance`)
hierarchical    segments are compared with the question; the model answers over each of the best ones, read by the
                frames that stand for its scenes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from ..core.registry import unknown
from ..features.keyframes import select_keyframes
from ..features.relevance import even, maximal_marginal_relevance, segments, top_k
from ..features.subtitles import Cue, subtitle_excerpt
from .projected_video import ProjectedVideo
from .video_inputs import Segment, SegmentedInputs, VideoInputs

FrameSelection = Literal["uniform", "scenes", "question", "hierarchical"]
BY_QUESTION = frozenset({"question", "hierarchical"})
"""Selections that need the question, and many encoded frames."""
SEGMENTS = 4
"""Segments, or moments of a library, that are read for one question."""


def check_frame_selection(name: str) -> FrameSelection:
    """Return the frame selection of a name. Raises UsageError that names the nearest known one."""
    for selection in get_args(FrameSelection):
        if name == selection:
            return selection  # type: ignore[no-any-return]
    raise unknown("frame selection", name, get_args(FrameSelection))


def select_frames(
    video: ProjectedVideo,
    frame_selection: FrameSelection,
    query: Tensor | None = None,
    cues: Sequence[Cue] = (),
) -> VideoInputs | SegmentedInputs:
    """Choose frames of an encoded video. query: float32 [D], a unit row of text space that stands for the question,
    needed for those `BY_QUESTION`. cues: subtitles, for segments. Raises as `Topa.project`."""
    count = video.engine.config.frames
    if frame_selection == "uniform":
        return video.inputs(even(len(video), count), frame_selection)
    if frame_selection == "scenes":
        return video.inputs(select_keyframes(video.image.values, count), frame_selection)
    assert query is not None, "these selections need the question"
    if frame_selection == "question":
        return video.inputs(maximal_marginal_relevance(video.values(), query, count), frame_selection)
    spans = segments(len(video), count)
    best = top_k(video.values(), query, spans, SEGMENTS)
    return SegmentedInputs(
        tuple(segment(video, *spans[number], similarity, cues=cues) for number, similarity in best), frame_selection
    )


def segment(
    video: ProjectedVideo, start: int, end: int, similarity: float, *, path: str = "", cues: Sequence[Cue] = ()
) -> Segment:
    """Return frames `start` to `end` of a video, the last one excluded, as a segment that is read by the frames that
    stand for its scenes. similarity: to the question. path: of the video in its library."""
    chosen = select_keyframes(video.image.values[start:end], video.engine.config.frames)
    first, last = video.span(start, end)
    subtitles = subtitle_excerpt(cues, start=first, end=last) if cues else ""
    return Segment(video.inputs([start + number for number in chosen]), first, last, similarity, path, subtitles)
