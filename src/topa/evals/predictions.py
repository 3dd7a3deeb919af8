"""What was answered: one line of JSON for each published record, streamed to a file as a run goes on."""

from __future__ import annotations

from pydantic import FiniteFloat

from .schema import FrozenModel

NAME = "predictions.jsonl"


class Prediction(FrozenModel):
    """The answer to one record.

    video, kind: the record's own, over which and for which whoever compares two runs takes intervals.
    choice: the index of the chosen option; None for an open question, a caption, or where nothing could be answered.
    text: the chosen option, or what was generated. scores: one per option, the lowest wins; what they are says the
    protocol. probabilities: one per option. answer: the right option's index, None where it is hidden or there are no
    options. correct: share of the credit, 0 to 1, None where the answer is hidden or a caption is asked for. error: why
    there is no answer; such a record is wrong.
    """

    id: str
    video: str = ""
    kind: str = "all"
    choice: int | None = None
    text: str = ""
    scores: tuple[FiniteFloat, ...] = ()
    probabilities: tuple[FiniteFloat, ...] = ()
    answer: int | None = None
    correct: FiniteFloat | None = None
    error: str | None = None
