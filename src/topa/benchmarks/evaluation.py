"""The report of an evaluation, typed: every number that `report.json` holds and `report.html` shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from .metrics import Estimate
from .report import Condition, Difference, FrameView, Part


class Score(Part):
    """A number that papers report. name: such as "accuracy", "accuracy, mean over types", "CIDEr-D". estimate: its
    value and interval as shares (CIDEr-D may exceed 1); None where it was not computed, and note says why."""

    name: str
    estimate: Estimate | None
    note: str = ""


class Counts(Part):
    """published: records of the split; all of them are in every number. errors: records without an answer, counted
    wrong, by reason. hidden: records whose answer is not public: asked, and in no number."""

    published: int
    errors: dict[str, int] = Field(default_factory=dict)
    hidden: int = 0


class Letters(Part):
    """How often each option, in the order of their letters, was chosen and how often it was right."""

    chosen: tuple[int, ...]
    right: tuple[int, ...]


class Bin(Part):
    """Questions whose chosen option had a probability in [low, high): their mean probability, and share of right."""

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
    """A record to look at: what was asked, seen and answered. right: None where hidden, or for a caption. frames:
    images as data URIs; without an image where only features are at hand."""

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
    right: bool | None = None
    error: str | None = None
    frames: tuple[FrameView, ...] = ()


class EvaluationReport(Part):
    """Everything that an evaluation found out, and what it takes to run it again.

    breakdowns: a partition ("type", "duration") to its parts to their estimates. conditions: the model first, then the
    baselines; differences: model minus each baseline, paired. settings, seeds, versions, hashes: of what made it.
    created: ISO 8601. missing: records without an answer and why, all of them.
    """

    title: str
    benchmark: str
    split: str
    task: str
    protocol: str
    command: str
    created: str
    counts: Counts
    scores: Annotated[tuple[Score, ...], Field(min_length=1)]
    breakdowns: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    differences: tuple[Difference, ...] = ()
    letters: Letters | None = None
    calibration: Calibration | None = None
    samples: tuple[Shown, ...] = ()
    missing: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
