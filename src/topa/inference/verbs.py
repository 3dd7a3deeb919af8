"""The configs of the verbs that answer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..core.protocols import LikelihoodProtocol
from ..core.verbs import VerbConfig, argument, option

MODEL = (
    "An aligned model: a folder, or on the hub org/name or org/name@revision. Default: the micro model, which knows "
    "only the micro world."
)
_AMONG = "Look at so many frames and read those that stand for the video's scenes. Default: evenly spread ones."
_CHOICE = (
    'Two options or more, each a word or in quotes: --choice red "dark blue". VIDEO and QUESTION stand before them.'
)
_SOURCE = "A video file, or the folder of a library."


class AskConfig(VerbConfig):
    """Answer a question about a video, or over a library, freely or by choosing among options.

    Example:  topa ask clip.mp4 'what colour is the toy at the end ?' --choice red blue
    """

    source: Path = argument(_SOURCE, metavar="VIDEO|LIBRARY")
    question: str = argument("What you want to know.")
    choice: tuple[str, ...] = option(_CHOICE, metavar="TEXT...", default=())
    model: str | None = option(MODEL, default=None)
    protocol: LikelihoodProtocol | None = option(
        "How options are compared: logits (their text) or selection (their letter). Default: the model's own.",
        default=None,
    )
    among: int | None = option(_AMONG, default=None)
    frames_by: Literal["uniform", "question", "hierarchical"] | None = option(
        "Frames of a long video are chosen: uniform, question (what is like it), or hierarchical (the same for "
        "segments, over each of which the model answers). Default: uniform.",
        default=None,
    )
    video: Path | None = option("Ask about this video of the library; it isn't decoded.", default=None)
    top: int | None = option("Moments of the library that are read. Default: 4.", default=None)
    subtitles: bool = option("Also read what is said then, from the .srt or .vtt beside the video.", default=False)


class CaptionConfig(VerbConfig):
    """Describe a video in words.

    Example:  topa caption clip.mp4 --json
    """

    video: Path = argument("A video file: anything FFmpeg reads.")
    model: str | None = option(MODEL, default=None)
    among: int | None = option(_AMONG, default=None)


class ExplainConfig(VerbConfig):
    """Say why it answers so: what each frame was read as, what the answer loses without it, where it looked.

    Example:  topa explain clip.mp4 'what colour is it ?' --choice red blue --out why
    """

    source: Path = argument(_SOURCE, metavar="VIDEO|LIBRARY")
    question: str | None = argument("What was asked. Default: explain the caption.", metavar="[QUESTION]", default=None)
    choice: tuple[str, ...] = option(_CHOICE, metavar="TEXT...", default=())
    model: str | None = option(MODEL, default=None)
    protocol: LikelihoodProtocol | None = option(
        "How options are compared: logits or selection. Default: the model's own.", default=None
    )
    among: int | None = option(_AMONG, default=None)
    video: Path | None = option("Of a library: which of its videos; it isn't read but for pictures.", default=None)
    out: Path | None = option("Folder for explain.html, timeline.png and explain.json.", default=None)


class AdaptConfig(VerbConfig):
    """Adapt a model to a camera: remove what all its pictures share, such as darkness. No labels are needed.

    Example:  topa adapt camera3/*.mp4 --model kitchen-model --out kitchen-model-camera3
    """

    videos: tuple[Path, ...] = argument("Videos of one camera, 30 or more.", metavar="VIDEO...")
    out: Path = option("Folder of the adapted model.")
    model: str | None = option(MODEL, default=None)
