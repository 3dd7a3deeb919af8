"""Prompts of the adapters that TOPA's authors released: other words, and another way to cut them into tokens.

Needed to use those adapters, for nothing else. Source: the released code (`llama/tokenizer.py`, `dataloader/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import InputError
from .prompt import Prompt, Prompter, check_options
from .templates import LETTERS


@dataclass(frozen=True, slots=True)
class Wording:
    """separator: the token behind the frames, which the released code puts there by its number. target: how the part
    of `Answer: The correct choice is (A)` begins that is learned and scored."""

    describe: str
    separator: str
    target: str


WORDINGS = {
    "released-llama2": Wording("Instruction: Generate a summary for the video.\nVideo:", "<0x0A>", "choice is ("),
    # 627 in Llama-3's vocabulary, which isn't a line end but a full stop with one.
    "released-llama3": Wording("Instruction: Generate a dense description for the video.\nVideo:", ".Ċ", "is ("),
}
_CHOOSE = "Instruction: Choose the correct answer based on the video and question.\nVideo:"
_ANSWER = "Instruction: Predict the answer based on the video and question.\nVideo:"


class ReleasedPrompter(Prompter):
    """A writer of the released prompts. What follows the frames is tokenised in one piece, so that tokens are those the
    adapter learned; the target begins at the token that holds its first letter.

    Deviation: the released code finds the target by the first "Answer" in the prompt, also where the question has
    one; here it is the last. Raises InputError for a tokenizer without the separator's token.
    """

    def __init__(self, tokenizer: Any, wording: str, window: int | None = None) -> None:
        super().__init__(tokenizer, window=window)
        self.wording = WORDINGS[wording]
        self._separator = tokenizer.convert_tokens_to_ids(self.wording.separator)
        if self._separator in (None, tokenizer.unk_token_id):
            raise InputError(
                f"tokenizer: found no token {self.wording.separator!r}, which {wording} prompts need. Give the "
                "tokenizer of the Llama that the adapter was trained with."
            )

    def choose(self, question: str, options: Sequence[str], frames: int, answer: int | None = None) -> Prompt:
        """Write a multiple choice prompt, whose target is the end of `The correct choice is (A)`."""
        check_options(options)
        return self._fit(options, lambda texts: self._choose(question, texts, frames, answer))

    def _choose(self, question: str, options: Sequence[str], frames: int, answer: int | None) -> Prompt:
        option_lines = "".join(f"({LETTERS[i]}) {option}\n" for i, option in enumerate(options))
        stem = f"Question: {_as_asked(question)}\nChoices: \n{option_lines}Answer: The correct choice is ("
        if answer is None:
            return self._whole(_CHOOSE, frames, stem, None)
        target_start = len(stem) - len(self.wording.target)
        return self._whole(_CHOOSE, frames, f"{stem}{LETTERS[answer]})", target_start)

    def answer(self, question: str, frames: int, answer: str | None = None) -> Prompt:
        """Write the prompt of an open question, whose target is a colon and the answer's text."""
        return self._checked(self._open(question, frames, None if answer is None else answer + "\n"))

    def describe(self, frames: int, description: str | None = None) -> Prompt:
        """Write the prompt of a summary, whose target is a colon and the description."""
        reply = "" if description is None else f" {description}\n"
        target_start = None if description is None else len("\nDescription")
        return self._checked(self._whole(self.wording.describe, frames, f"\nDescription:{reply}", target_start))

    def candidates(self, question: str, options: Sequence[str], frames: int, by_letter: bool) -> list[Prompt]:
        """Write candidates as `Prompter` does; an option's text has no line end, as in the released evaluation."""
        if by_letter:
            return super().candidates(question, options, frames, by_letter)
        check_options(options)
        return [self._checked(self._open(question, frames, option)) for option in options]

    def _open(self, question: str, frames: int, reply: str | None) -> Prompt:
        stem = f"Question: {_as_asked(question)}\nAnswer"
        if reply is None:
            return self._whole(_ANSWER, frames, f"{stem}:", None)
        return self._whole(_ANSWER, frames, f"{stem}: {reply}", len(stem))

    def _whole(self, head: str, frames: int, text: str, target_start: int | None) -> Prompt:
        """Write a whole prompt. target_start: character of `text` where the target begins; None for one to be
        continued."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        before = (*(() if bos is None else (bos,)), *self.encode(head))
        slots = (len(before), len(before) + frames)
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        ids = (*before, *([0] * frames), self._separator, *encoded["input_ids"])
        if target_start is None:
            return Prompt(ids, slots, (len(ids), len(ids)))
        # A token's span may or may not include the blank before its word: what counts is where it ends.
        first = next(i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > target_start)
        ids = (*ids, *(() if eos is None else (eos,)))
        return Prompt(ids, slots, (slots[1] + 1 + first, len(ids)))


def _as_asked(question: str) -> str:
    """Write a question as the released code does: capitalised, all other letters lowered, with a question mark."""
    text = question.capitalize().strip()
    return text if text.endswith("?") else text + "?"
