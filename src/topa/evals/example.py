"""What a benchmark asks: one published record after the other, as it was published.

A loader of `evals.datasets` gives `Example`s; evaluation answers every one of them, training takes those that are fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Task = Literal["choice", "open", "caption"]
"""What is asked for: one of the options, an answer in words, a description of the video."""


@dataclass(frozen=True, slots=True)
class Example:
    """One record of a benchmark.

    id: unique in its split. video: its video's name in the data set, by which released features are kept and over
    which intervals are resampled. path: the video's file, or its folder of numbered frames; it may be missing.
    question: "" where the video is to be captioned. options: as published: they may repeat; () for an open question.
    answer: the index of the right option, None where the split hides it. references: right answers in words, or the
    video's captions; () where hidden. kind: the type of the question. groups: other partitions that results are told
    by, such as ("duration", "short"). start, end: seconds, where the question is about a part. fps: of a folder of
    frames. subtitles: the file of subtitles, where the data set has such; it may be missing. description: of the whole
    video, where the data set has one, for training. captions: the video told frame by frame, where the data set is
    made of texts. fault: why this can't be asked as it was published; "" where it
    can. Such a record is counted wrong and listed.
    """

    id: str
    video: str
    path: Path
    question: str = ""
    options: tuple[str, ...] = ()
    answer: int | None = None
    references: tuple[str, ...] = ()
    kind: str = "all"
    groups: tuple[tuple[str, str], ...] = ()
    start: float | None = None
    end: float | None = None
    fps: float | None = None
    subtitles: Path | None = None
    description: str = ""
    captions: tuple[str, ...] = ()
    fault: str = ""

    @property
    def hidden(self) -> bool:
        """Whether the right answer was not published."""
        return self.answer is None and not self.references
