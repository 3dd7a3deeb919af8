"""The Tideo: a video that exists as text only.

Written by a writer (or read from JSON Lines), encoded by `topa.features`, trained on by `topa.training`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class TextFrame(BaseModel):
    """One textual frame: a caption of the whole, and captions of single objects in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caption: Text
    objects: tuple[Text, ...] = ()


class Question(BaseModel):
    """A question about a Tideo or a video.

    With `options` (two or more, all different) it is multiple choice and `answer` is the index of the right
    one; `answer_text` is the same answer as free text. Either may be absent, not both.
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
        """The right answer as text, where it is known."""
        if self.answer is not None:
            return self.options[self.answer]
        return self.answer_text


class Tideo(BaseModel):
    """A textual video: frames in order of time, one dense description, questions with answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    frames: Annotated[tuple[TextFrame, ...], Field(min_length=1)]
    description: Text
    questions: tuple[Question, ...] = ()
    source: dict[str, Any] = Field(default_factory=dict)


class Tideos(Protocol):
    """Tideos by their numbers, in memory or in a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tideo: ...

    def __iter__(self) -> Iterator[Tideo]: ...
