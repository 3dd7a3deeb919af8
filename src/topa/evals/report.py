"""The demo's report, typed.

Made of the estimates of `metrics`; `publish` writes it, `tables` prints it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    model_validator,
)

from .metrics import Estimate

_DATA_URI = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")


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


class Part(BaseModel):
    """A value that is part of a report: frozen, and of known fields only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(Part):
    """One way of answering all questions: the method itself, or a baseline it must beat.

    `about` says in a few words what the model saw; `kinds` maps a kind of question to its accuracy.
    """

    name: str
    about: str
    accuracy: Estimate
    kinds: dict[str, Estimate]


class Difference(Part):
    """A paired difference, named like "projected - raw"; `kinds` are those it was taken over, None means all."""

    name: str
    kinds: tuple[str, ...] | None = None
    estimate: Estimate


class Stage(Part):
    """What a stage of the run cost. `peak_mb`: the most memory held by the process until its end, in MB."""

    name: str
    seconds: NonNegativeFloat
    peak_mb: NonNegativeFloat


class FrameView(Part):
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


class Sample(Part):
    """One question about one video. `answer` is the right option, `choice` the one that the method chose."""

    video: RelativePath
    description: str
    frames: tuple[FrameView, ...]
    question: str
    kind: str
    options: tuple[str, ...]
    probabilities: tuple[Annotated[float, Field(ge=0, le=1.0001)], ...]
    answer: int
    choice: int

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if len(self.options) != len(self.probabilities):
            raise ValueError(f"{len(self.options)} options but {len(self.probabilities)} probabilities")
        for name in ("answer", "choice"):
            if not 0 <= getattr(self, name) < len(self.options):
                raise ValueError(
                    f"{name} is {getattr(self, name)}; expected the index of one of {len(self.options)} options"
                )
        return self


class DemoReport(Part):
    """Everything that a run of the demo found out, and what it takes to run it again.

    `created`: ISO 8601.  `parameters`: what trains and what stays frozen, here and on larger models.  `samples`:
    questions chosen without looking at the answers.  `mistakes`: the first wrong answers, of `mistake_count`.
    """

    title: str
    command: str
    created: str
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)]
    differences: tuple[Difference, ...] = ()
    stages: tuple[Stage, ...] = ()
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, int | str] = Field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    mistakes: tuple[Sample, ...] = ()
    mistake_count: NonNegativeInt = 0
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [condition.name for condition in self.conditions]
        if len(set(names)) != len(names):
            raise ValueError(f"two conditions have the same name: {', '.join(sorted(names))}")
        return self
