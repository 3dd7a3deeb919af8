"""The report of an evaluation, typed: every number that `report.json` holds and `report.html` shows.

`summary` makes the numbers, `publish.write_report` writes the report, `tables` prints it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, NonNegativeFloat, model_validator

from .metrics import IntervalEstimate
from .schema import FrozenModel

MODEL = "model"
"""The condition that is what was evaluated; every other one is a baseline."""
_DATA_URI = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")

Verdict = Literal["right", "wrong", "error", "unmarked"]
"""What became of a record. error: there is no answer. unmarked: its right answer is hidden, or a caption was asked."""


def verdict_of(credit: float | None, error: str | None) -> Verdict:
    """Return the verdict that an answer is shown with; from half the credit on it is right."""
    if error is not None:
        return "error"
    if credit is None:
        return "unmarked"
    return "right" if credit >= 0.5 else "wrong"


def _relative(path: str) -> str:
    """A path below the report's folder, so that the folder can be moved and nothing outside it is fetched."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in pure.parts[0]:
        raise ValueError(f"expected a path relative to the report's folder, with forward slashes; found {path[:80]!r}")
    return path


def _image(source: str) -> str:
    return source if _DATA_URI.fullmatch(source) else _relative(source)


RelativePath = Annotated[str, AfterValidator(_relative)]
ImageSource = Annotated[str, AfterValidator(_image)]


class Condition(FrozenModel):
    """One way of answering all questions: the model itself, or a baseline that it must beat.

    `about` says in a few words what was read; `kinds` maps a kind of question to its accuracy.
    """

    name: str
    about: str
    accuracy: IntervalEstimate
    kinds: dict[str, IntervalEstimate]


class Difference(FrozenModel):
    """A paired difference, named like "model - blind"; `kinds` are those it was taken over, None means all."""

    name: str
    kinds: tuple[str, ...] | None = None
    estimate: IntervalEstimate


class StageCost(FrozenModel):
    """The cost of a stage of the run. `peak_mb`: the most memory that the process held until its end, in MB."""

    name: str
    seconds: NonNegativeFloat
    peak_mb: NonNegativeFloat


class FrameView(FrozenModel):
    """A sampled frame and the memory captions it was read as, the heaviest first.

    `time`: seconds, None where features are at hand without their times. `image`: a data URI (PNG or JPEG), or a file
    below the report's folder, which the page takes in; None where features are at hand without the video.
    """

    time: NonNegativeFloat | None = None
    image: ImageSource | None = None
    captions: tuple[str, ...] = ()
    weights: tuple[FiniteFloat, ...] = ()

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if len(self.captions) != len(self.weights):
            raise ValueError(f"{len(self.captions)} captions but {len(self.weights)} weights; expected one each")
        return self


class Score(FrozenModel):
    """A number that papers report. name: such as "accuracy", "accuracy, mean over types", "CIDEr-D". estimate: its
    value and interval as shares (CIDEr-D may exceed 1); None where it was not computed, and note says why."""

    name: str
    estimate: IntervalEstimate | None
    note: str = ""


class RecordCounts(FrozenModel):
    """published: records read, all of the split; those whose answer is public are in every number. hidden: records
    whose answer is not public: asked, and in no number. errors: of those that are public, records without an answer,
    counted wrong, by reason."""

    published: int
    errors: dict[str, int] = Field(default_factory=dict)
    hidden: int = 0

    @property
    def public(self) -> int:
        """The denominator of every number over all records."""
        return self.published - self.hidden

    @property
    def unanswered(self) -> int:
        """How many records are counted wrong as there is no answer."""
        return sum(self.errors.values())


class Letters(FrozenModel):
    """How often each option, in the order of their letters, was chosen and how often it was right.

    Of the records whose answer is public, or of all where none is; a record without an answer chooses nothing.
    """

    chosen: tuple[int, ...]
    right: tuple[int, ...]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if len(self.chosen) != len(self.right):
            raise ValueError(f"{len(self.chosen)} options were chosen but {len(self.right)} can be right")
        return self


class Bin(FrozenModel):
    """Questions whose chosen option had a probability in [low, high), the last one with its upper end: their mean
    probability, and share of right."""

    low: float
    high: float
    questions: int
    confidence: FiniteFloat
    accuracy: FiniteFloat


class Calibration(FrozenModel):
    """error: the expected calibration error, mean |confidence - accuracy| over questions. bins: not empty ones."""

    error: FiniteFloat
    bins: tuple[Bin, ...]


class ReportSample(FrozenModel):
    """A record to look at: the question, the frames and the answer.

    file: the video's, where it lies below the report's folder and can be played. description: what happens in it, where
    the data set says so. probabilities: one per option, or none. answer: the right option, None where hidden or there
    are no options. credit: from 0, wrong, to 1, right; None where the answer is hidden, or for a caption. error: why
    there is no answer. frames: without an image where only features are at hand.
    """

    id: str
    video: str
    file: RelativePath | None = None
    description: str = ""
    kind: str
    question: str
    options: tuple[str, ...] = ()
    probabilities: tuple[FiniteFloat, ...] = ()
    answer: int | None = None
    choice: int | None = None
    text: str = ""
    references: tuple[str, ...] = ()
    credit: Annotated[float, Field(ge=0, le=1)] | None = None
    error: str | None = None
    frames: tuple[FrameView, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """What it is shown as."""
        return verdict_of(self.credit, self.error)

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.probabilities and len(self.options) != len(self.probabilities):
            raise ValueError(f"{len(self.options)} options but {len(self.probabilities)} probabilities")
        for name, index in (("answer", self.answer), ("choice", self.choice)):
            if index is not None and not 0 <= index < len(self.options):
                raise ValueError(f"{name} is {index}; expected the index of one of {len(self.options)} options")
        return self


class Summary(FrozenModel):
    """The numbers of an evaluation; `summary.summarise` makes them.

    breakdowns: a partition ("type", "duration") to its parts to their estimates. conditions: the model first, then the
    baselines; differences: model minus each baseline, paired. missing: records without an answer and why, all of them,
    hidden ones too. notes: what a reader must know to judge the numbers.
    """

    counts: RecordCounts
    scores: Annotated[tuple[Score, ...], Field(min_length=1)]
    breakdowns: dict[str, dict[str, IntervalEstimate]] = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    differences: tuple[Difference, ...] = ()
    letters: Letters | None = None
    calibration: Calibration | None = None
    missing: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [condition.name for condition in self.conditions]
        if len(set(names)) != len(names):
            raise ValueError(f"two conditions have the same name: {', '.join(sorted(names))}")
        return self


class EvaluationReport(Summary):
    """The outcome of an evaluation, and what it takes to run it again.

    Its numbers are those of a summary: `EvaluationReport(**dict(summary), title=...)`. about: what this is, in a
    sentence or two above the numbers. created: ISO 8601. settings, seeds, versions, hashes: of what made it. stages:
    the cost of each stage of a longer run, where it was measured. parameters: how many train and how many stay frozen.
    """

    title: str
    benchmark: str
    split: str
    task: str
    protocol: str
    command: str
    created: str
    about: str = ""
    samples: tuple[ReportSample, ...] = ()
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)
    stages: tuple[StageCost, ...] = ()
    parameters: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0
