"""A question as the LLM reads it: written down, so that whoever runs the model may put many of them into one batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..prompts.prompt import Prompt
from .answer import Answer
from .scoring import Scores
from .seen import Seen


@dataclass(frozen=True, slots=True)
class Asked:
    """values: float32 [T, D] and valid: bool [T], what the LLM gets of the video. prompts: a candidate per option, or
    the one that it goes on from. by_letter: whether options are told by their letters."""

    seen: Seen
    values: Tensor
    valid: Tensor
    prompts: tuple[Prompt, ...]
    options: tuple[str, ...] = ()
    by_letter: bool = False
    warnings: tuple[str, ...] = ()

    def answer(self, found: Scores | str) -> Answer:
        """What the model found: scores of the options, or the text that it said."""
        seen = self.seen
        if isinstance(found, str):
            return Answer(
                found, evidence=seen.evidence, warnings=self.warnings, frames_by=seen.frames_by, times=seen.times
            )
        warnings = self.warnings
        if found.cut:
            warnings += (f"{found.cut} tokens of the options were left out: the language model can't read as many",)
        return Answer(
            self.options[found.choice],
            found.choice,
            self.options,
            found.probabilities,
            found.mean_nll,
            seen.evidence,
            warnings,
            seen.frames_by,
            seen.times,
        )
