"""Questions about video files, as the readers of data sets give them.

A reader takes the file of questions and the folder of videos, and gives a `VideoQuestion` for each question, in the
order of the file, or an `Unfit` with the reason. Training leaves those out and counts them; evaluation lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path, PurePosixPath

from ..core.registry import Registry
from ..tideos.tideo import Question


@dataclass(frozen=True, slots=True)
class VideoQuestion:
    """A question about a video, or about the part of it from `start` to `end`, in seconds; None: from its first
    frame, to its last.

    id: unique within its file. video: where the file should be; it may be missing. description: of the whole, where
    the data set has one.
    """

    id: str
    video: Path
    question: Question
    start: float | None = None
    end: float | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A question that can't be asked as it is. reason: equal words for equal faults; detail: what else is known."""

    id: str
    video: str
    reason: str
    detail: str = ""


Asked = VideoQuestion | Unfit
Reader = Callable[[Path, Path], Iterator[Asked]]
"""(file of questions, folder of videos) -> what is asked. Raises InputError that names the line."""

FORMATS = Registry(
    "format",
    {
        "jsonl": "topa.benchmarks.own:read",
        "nextqa": "topa.benchmarks.nextqa:read",
        "star": "topa.benchmarks.star:read",
        "tvqa": "topa.benchmarks.tvqa:read",
    },
)
"""Readers by the name of what they read."""


def ask(
    name: str,
    video: Path,
    text: str,
    options: Sequence[str],
    answer: int | None,
    *,
    kind: str = "other",
    start: float | None = None,
    end: float | None = None,
) -> Asked:
    """A multiple choice question of a published data set, or why it isn't one."""
    found = tuple(option.strip() for option in options)
    reason, detail = "", ""
    if not text.strip():
        reason = "the question is empty"
    elif not all(found):
        reason = "an option is empty"
    elif repeated := sorted({option for option in found if found.count(option) > 1}):
        reason, detail = "options repeat", ", ".join(repeated)
    elif answer is not None and not 0 <= answer < len(found):
        reason, detail = "the answer is none of the options", f"{answer} of {len(found)}"
    elif not ordered(start, end):
        reason, detail = "the part has no length", f"{start} to {end} s"
    if reason:
        return Unfit(name, video.name, reason, detail)
    return VideoQuestion(name, video, Question(question=text, kind=kind, options=found, answer=answer), start, end)


def ordered(start: float | None, end: float | None) -> bool:
    """Whether a part begins in the video and ends behind its beginning."""
    given = [seconds for seconds in (start, end) if seconds is not None]
    return all(isfinite(s) and s >= 0 for s in given) and (end is None or (start or 0.0) < end)


def find(videos: Path, *names: str) -> Path:
    """The first of these files that is in the folder; where none is, the last one. Names that lead out of the folder
    aren't followed."""
    inside = [videos / name for name in names if _stays(name)]
    return next((path for path in inside if path.exists()), inside[-1] if inside else videos / Path(names[-1]).name)


def _stays(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
