"""The report of an evaluation, typed: every number that `report.json` holds and `report.html` shows.

`summary` makes the numbers, `publish.write_evaluation` writes the report, `evaluation_tables` prints it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from .metrics import Estimate
from .report import Condition, Difference, FrameView, Part

MODEL = "model"
"""The condition that is what was evaluated; every other one is a baseline."""

Verdict = Literal["right", "wrong", "error", "unmarked"]
"""What became of a record. error: there is no answer. unmarked: its right answer is hidden, or a caption was asked."""


def judged(credit: float | None, error: str | None) -> Verdict:
    """What an answer is shown as; from half the credit on it is right."""
    if error is not None:
        return "error"
    if credit is None:
        return "unmarked"
    return "right" if credit >= 0.5 else "wrong"


class Score(Part):
    """A number that papers report. name: such as "accuracy", "accuracy, mean over types", "CIDEr-D". estimate: its
    value and interval as shares (CIDEr-D may exceed 1); None where it was not computed, and note says why."""

    name: str
    estimate: Estimate | None
    note: str = ""


class Counts(Part):
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


class Letters(Part):
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


class Bin(Part):
    """Questions whose chosen option had a probability in [low, high), the last one with its upper end: their mean
    probability, and share of right."""

    low: float
    high: float
    questions: int
    confidence: FiniteFloat
    accuracy: FiniteFloat


class Calibration(Part):
    """error: the expected calibration error, mean |confidence - accuracy| over questions. bins: not empty ones."""

    error: FiniteFloat
    bins: tuple[Bin, ...]


class Shown(Part):
    """A record to look at: what was asked, seen and answered.

    probabilities: one per option, or none. answer: the right option, None where hidden or there are no options. credit:
    from 0, wrong, to 1, right; None where the answer is hidden, or for a caption. error: why there is no answer.
    frames: without an image where only features are at hand.
    """

    id: str
    video: str
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
        return judged(self.credit, self.error)

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.probabilities and len(self.options) != len(self.probabilities):
            raise ValueError(f"{len(self.options)} options but {len(self.probabilities)} probabilities")
        for name, index in (("answer", self.answer), ("choice", self.choice)):
            if index is not None and not 0 <= index < len(self.options):
                raise ValueError(f"{name} is {index}; expected the index of one of {len(self.options)} options")
        return self


class Summary(Part):
    """The numbers of an evaluation; `summary.summarise` makes them.

    breakdowns: a partition ("type", "duration") to its parts to their estimates. conditions: the model first, then the
    baselines; differences: model minus each baseline, paired. missing: records without an answer and why, all of them,
    hidden ones too. notes: what a reader must know to judge the numbers.
    """

    counts: Counts
    scores: Annotated[tuple[Score, ...], Field(min_length=1)]
    breakdowns: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    differences: tuple[Difference, ...] = ()
    letters: Letters | None = None
    calibration: Calibration | None = None
    missing: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class EvaluationReport(Summary):
    """Everything that an evaluation found out, and what it takes to run it again.

    Its numbers are those of a summary: `EvaluationReport(**dict(summary), title=...)`. settings, seeds, versions,
    hashes: of what made it. created: ISO 8601.
    """

    title: str
    benchmark: str
    split: str
    task: str
    protocol: str
    command: str
    created: str
    samples: tuple[Shown, ...] = ()
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
