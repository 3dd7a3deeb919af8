"""Questions about video files, as training takes them: those of a benchmark's examples that are fit for it.

`FORMATS` are the loaders of `evals.datasets` whose training splits `topa finetune` reads. An example that nothing can
be learned from comes as `UnfitQuestion`, with the reason: training leaves it out and counts it, evaluation lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.registry import Registry
from ..tideos.tideo import Question
from .example import Example
from .published import EMPTY_OPTION, NO_LENGTH, NO_OPTION, NO_QUESTION


@dataclass(frozen=True, slots=True)
class VideoQuestion:
    """A question about a video, or about the part of it from `start` to `end`, in seconds; None: from its first
    frame, to its last.

    id: unique within its file. video: where the file should be, or the folder of its frames, `fps` a second; it may be
    missing. description: of the whole, where the data set has one.
    """

    id: str
    video: Path
    question: Question
    start: float | None = None
    end: float | None = None
    description: str = ""
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class UnfitQuestion:
    """A question that can't be asked as it is. reason: equal words for equal faults; detail: what else is known."""

    id: str
    video: str
    reason: str
    detail: str = ""


Asked = VideoQuestion | UnfitQuestion
Reader = Callable[[Path, Path], Iterator[Example]]
"""(file of questions, folder of videos) -> what is asked. Raises InputError that names the line."""

FORMATS = Registry(
    "format",
    {
        "jsonl": "topa.evals.datasets.own:examples",
        "nextqa": "topa.evals.datasets.nextqa:examples",
        "star": "topa.evals.datasets.star:examples",
        "tvqa": "topa.evals.datasets.tvqa:examples",
    },
)
"""Readers by the name of what they read."""


def read(form: str, path: Path, videos: Path) -> Iterator[Asked]:
    """The questions of a file in one of `FORMATS`, in its order. Raises UsageError for an unknown form, InputError that
    names the line of what can't be read."""
    reader: Reader = FORMATS.load(form)
    return map(asked, reader(path, videos))


def asked(example: Example) -> Asked:
    """An example for training, or why it isn't one. In training the options of a question differ."""
    found = example.options
    reason, detail = example.fault, ""
    if reason not in (NO_QUESTION, EMPTY_OPTION):
        if repeated := sorted({option for option in found if found.count(option) > 1}):
            reason, detail = "options repeat", ", ".join(repeated)
        elif reason == NO_OPTION:
            told = example.references[0]
            detail = f"{told} of {len(found)}" if told.isdecimal() else told
        elif reason == NO_LENGTH:
            detail = f"{example.start} to {example.end} s"
    if reason:
        named = example.path.as_posix().endswith(example.video)
        return UnfitQuestion(example.id, example.video if named else example.path.name, reason, detail)
    question = Question(
        question=example.question,
        kind=example.kind,
        options=found,
        answer=example.answer,
        answer_text=example.references[0] if example.references else None,
    )
    return VideoQuestion(
        example.id, example.path, question, example.start, example.end, example.description, example.fps
    )
