"""What the engine says, and what it saw."""

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
class Part:
    """A part of a video that was read for itself. start, end: seconds. share: how much it counted, 0 to 1. video: its
    path in the library; "" where only one was asked about. text: what this part alone answers."""

    start: float
    end: float
    share: float
    text: str
    video: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """text: the answer. choice: index of the chosen option, None for open questions and captions.

    options, probabilities, scores: one per option (empty for open ones); scores are mean negative log-likelihoods.
    evidence: one entry per frame. warnings: what the user should know: a truncated file, unknown words.
    frames_by: how the frames were chosen (uniform, scenes, question, hierarchical, search); times: seconds of those
    that were read, of the first part where there are parts. parts: what was read one by one, the one that counted most
    for the answer first.
    """

    text: str
    choice: int | None = None
    options: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    evidence: tuple[EvidenceFrame, ...] = ()
    warnings: tuple[str, ...] = ()
    frames_by: str = ""
    times: tuple[float, ...] = ()
    parts: tuple[Part, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A dictionary of plain values, for `--json`."""
        return asdict(self)
