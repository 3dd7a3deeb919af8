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
class Answer:
    """text: the answer. choice: index of the chosen option, None for open questions and captions.

    options, probabilities, scores: one per option (empty for open ones); scores are mean negative log-likelihoods.
    evidence: one entry per frame. warnings: what the user should know: a truncated file, unknown words.
    """

    text: str
    choice: int | None = None
    options: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    evidence: tuple[EvidenceFrame, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A dictionary of plain values, for `--json`."""
        return asdict(self)
