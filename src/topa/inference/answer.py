"""What the engine answers, and what the answer rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EvidenceFrame:
    """One frame the answer rests on: its time in seconds, and the memory captions it was read as, with weights."""

    time: float | None
    captions: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A part of a video that was read by itself. start, end: seconds. share: how much it counted, 0 to 1. video: its
    path in the library; "" where only one was asked about. text: what this part alone answers."""

    start: float
    end: float
    share: float
    text: str
    video: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """text: the answer; under `similarity` what was generated. choice: index of the chosen option, None for open
    questions and captions.

    options, probabilities, scores: one per option, none for open questions; the lowest score wins: mean negative
    log-likelihoods in nats, 1 - cosine (`similarity`), or the negative logarithm of the mean probability
    (permutations, segments). evidence: one entry per frame. warnings: what the user should know: a truncated file,
    unknown words. frame_selection: how the frames were chosen (uniform, scenes, question, hierarchical, search). times:
    seconds of those that were read, of the first part where there are parts. parts: what was read one by one, the one
    that counted most for the answer first.
    """

    text: str
    choice: int | None = None
    options: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    evidence: tuple[EvidenceFrame, ...] = ()
    warnings: tuple[str, ...] = ()
    frame_selection: str = ""
    times: tuple[float, ...] = ()
    parts: tuple[AnswerPart, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A dictionary of plain values, for `--json`. `frames_by` is the name that `frame_selection` had before 0.2;
        it leaves with the next release."""
        return {**asdict(self), "frames_by": self.frame_selection}
