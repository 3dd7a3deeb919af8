"""The Tideo: a video that exists as text only.

Written by a writer (or read from JSON Lines), encoded by `topa.features`, trained on by `topa.training`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class TextFrame(BaseModel):
    """One textual frame: a caption of the whole, and captions of single objects in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caption: Text
    objects: tuple[Text, ...] = ()


class Question(BaseModel):
    """A question about a Tideo or a video.

    options: for multiple choice, two or more, all different. answer: index of the right option. answer_text: the answer
    as free text. Answers may be absent, as for benchmarks with hidden labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Text
    kind: str = "other"
    options: tuple[Text, ...] = ()
    answer: int | None = None
    answer_text: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Question:
        if self.options:
            if len(self.options) < 2:
                raise ValueError(f"a choice needs at least two options, found {list(self.options)}")
            if len(set(self.options)) != len(self.options):
                raise ValueError(f"options repeat: {list(self.options)}")
            if self.answer is not None and not 0 <= self.answer < len(self.options):
                raise ValueError(f"answer {self.answer} is not an index into {len(self.options)} options")
        elif self.answer is not None:
            raise ValueError("an answer index without options")
        return self

    @property
    def right(self) -> str | None:
        """The right answer as text, or None if unknown."""
        if self.answer is not None:
            return self.options[self.answer]
        return self.answer_text


class Tideo(BaseModel):
    """A textual video: frames in order of time, a dense description, and questions with answers.

    source: its origin, such as the writer and the kind of seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    frames: Annotated[tuple[TextFrame, ...], Field(min_length=1)]
    description: Text
    questions: tuple[Question, ...] = ()
    source: dict[str, Any] = Field(default_factory=dict)
