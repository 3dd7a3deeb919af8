"""The configs of the verbs about libraries of videos."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..core.embedded import PAPER_ENCODER
from ..core.errors import UsageError
from ..core.verbs import VerbConfig, argument, option


class IndexConfig(VerbConfig):
    """Make a library of videos that is searched and asked without decoding again; bring one up to date.

    Example:  topa index camera1 'archive/**/*.mkv' --out footage --rate 0.5
    After its videos were moved:  topa index --out footage --root /mnt/archive
    """

    out: Path = option("Folder of the library; given again, it is brought up to date.")
    videos: tuple[str, ...] = argument(
        "Videos: files, folders with all below them, quoted patterns, .txt (a path a line), .csv (a column path or "
        "video). All that was named before is looked at again, too.",
        metavar="VIDEOS",
        default=(),
    )
    encoder: str | None = option(
        "Folder or hub id of a CLIP-like model; microworld/clip. Default: the library's own, "
        f"{PAPER_ENCODER} for a new one.",
        default=None,
    )
    rate: float | None = option("Frames a second. Default: 1.", default=None)
    cap: int | None = option("Frames of one video at most, spread evenly. Default: 600.", min=1, default=None)
    scenes: float | None = option(
        "Of the frames, keep one a scene: a new one begins where neighbours' features are further apart than this, "
        "as 1 - cosine, such as 0.2. Default: keep all.",
        default=None,
    )
    workers: int | None = option("Processes that decode. Default: one per core, 4 at most.", min=1, default=None)
    root: str | None = option(
        "Folder that the videos are in now, after they or the library were moved. They are known again by their "
        "paths or by their content; nothing is decoded again.",
        metavar="DIR",
        default=None,
    )
    forget_missing: bool = option(
        "Let videos leave the library though a whole folder of them isn't there, or all are gone at once. Without "
        "it they are kept, as a disk may not be mounted.",
        default=False,
    )
    wait: bool = option("Wait for another process that is at work in the library.", default=False)

    def __post_init__(self) -> None:
        """Raise UsageError for numbers that nothing can be made with."""
        super().__post_init__()
        for name, value in (("--rate", self.rate), ("--cap", self.cap), ("--workers", self.workers)):
            if value is not None and not value > 0:
                raise UsageError(f"{name}: found {value}; expected more than 0. Leave it out for the default.")
        if self.scenes is not None and not 0 < self.scenes < 2:
            raise UsageError(f"--scenes: found {self.scenes}; expected a distance between 0 and 2, such as 0.2.")

    @property
    def words(self) -> list[object]:
        """The words that give it on the command line, behind the verb."""
        names = ("encoder", "rate", "cap", "scenes", "workers", "wait", "root", "forget_missing")
        options = {f"--{name.replace('_', '-')}": getattr(self, name) for name in names}
        given = {name: value for name, value in options.items() if value not in (None, False)}
        return [
            *self.videos,
            *("--out", self.out),
            *(word for name, value in given.items() for word in ([name] if value is True else [name, value])),
        ]


_SIMILARITY = (
    "How pictures and words are compared: raw (their cosine), centred (without each side's mean) or projected (through "
    "the memory); the latter two need --model. Default: raw."
)
_MODEL = "A model, or a memory, whose captions stand for words: a folder, or on the hub org/name or org/name@revision."


class SearchConfig(VerbConfig):
    """Find moments of a library by words: which video, from when to when, best first. Nothing is decoded.

    Example:  topa search kitchen-library "a red ball on the left" --top 5
    """

    library: Path = argument("A library, from topa index.", metavar="LIB")
    query: str = argument("What the moments show.")
    top: int = option("How many moments.", min=1, default=10)
    path: str | None = option('Only videos whose path matches: "camera3/*".', default=None)
    after: float | None = option("Only frames from this second of a video on.", default=None)
    before: float | None = option("Only frames up to this second.", default=None)
    similarity: Literal["raw", "centred", "projected"] | None = option(_SIMILARITY, default=None)
    model: str | None = option(_MODEL, default=None)


class WhenConfig(VerbConfig):
    """Say when a video shows something: intervals with scores, best first.

    Example:  topa when clip.mp4 "a red ball on the left"
    """

    video: Path = argument("A video file, or a library with --path.", metavar="VIDEO|LIB")
    query: str = argument("What happens.")
    path: str | None = option("Of a library: the videos to look at. Default: all of them.", default=None)
    top: int = option("Intervals of a video.", min=1, default=3)
    encoder: str | None = option("Of a video file. Default: the one of --model, or microworld/clip.", default=None)
    similarity: Literal["raw", "centred", "projected"] | None = option(_SIMILARITY, default=None)
    model: str | None = option(_MODEL, default=None)
