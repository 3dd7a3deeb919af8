"""Prompts as segments: what the aligned LLM reads, with its frame slots and its target known by construction.

Built from `templates`; used literally by training and by inference, so that the two can't drift apart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..core.errors import InputError
from .templates import LETTERS, TOPA, Templates

_KNOWN = 2_000  # texts whose tokens are kept: instructions and whatever is asked often


class TooLong(InputError):
    """A prompt that the language model, or the run, has no room for."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    bos_token_id: int | None
    eos_token_id: int | None
    unk_token_id: int | None

    def __call__(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool, **more: Any) -> Any:
        """Encode; the result's `input_ids` are used."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Ids to text."""
        ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids with two spans. Ids at frame slots are 0 and never read.

    slots: [first, last) positions of the frame slots; target: [first, last) of what the model is to say, end of
    sequence included. At inference the target is empty and lies at the end. cut: tokens of listed options that were
    left out, because the model can't read as much.
    """

    ids: tuple[int, ...]
    slots: tuple[int, int]
    target: tuple[int, int]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class Prompter:
    """A writer of the prompts of the three tasks, for one tokenizer.

    tokens_per_frame: LLM positions per frame (1 in the paper). Segments are tokenised one by one: a target never
    merges with what stands before it, whatever the tokenizer. window: tokens the model can read; None for no limit.
    A prompt that is longer loses the ends of its listed options, all to the same length; the question's own words and
    the target are never cut: where that doesn't suffice, TooLong.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        tokens_per_frame: int = 1,
        templates: Templates = TOPA,
        window: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.tokens_per_frame = tokens_per_frame
        self.templates = templates
        self.window = window
        self._known: dict[str, tuple[int, ...]] = {}
        # Training prepares batches in one thread and validates in another; a Rust tokenizer serves one at a time.
        self._lock = threading.Lock()

    def choose(self, question: str, options: Sequence[str], frames: int, answer: int | None = None) -> Prompt:
        """Write a multiple choice prompt, whose target is the letter of `answer`. Options may repeat, as those of
        published questions do. Raises what `check_number` raises, and TooLong where the window is too small."""
        check_number(options)
        return self._fit(options, lambda texts: self._choose(question, texts, frames, answer))

    def _choose(self, question: str, options: Sequence[str], frames: int, answer: int | None) -> Prompt:
        target = None if answer is None else self.letter(answer)
        return self._build(self.templates.choose, frames, self.templates.choice_body(question, tuple(options)), target)

    def _fit(self, options: Sequence[str], write: Callable[[Sequence[str]], Prompt]) -> Prompt:
        """Write the prompt with all of the options, or with as much of their beginnings as the window holds."""
        prompt = write(options)
        if self.window is None or len(prompt) <= self.window:
            return prompt
        tokens = [self.encode(option) for option in options]
        shortest, longest = 1, max(map(len, tokens))
        while shortest < longest:  # the most tokens an option may keep
            keep = (shortest + longest + 1) // 2
            if len(write(self._shortened(tokens, keep))) <= self.window:
                shortest = keep
            else:
                longest = keep - 1
        fitting = write(self._shortened(tokens, shortest))
        return self._checked(replace(fitting, cut=sum(max(0, len(t) - shortest) for t in tokens)))

    def _shortened(self, tokens: Sequence[tuple[int, ...]], keep: int) -> list[str]:
        return [self.tokenizer.decode(t[:keep], skip_special_tokens=False).strip() for t in tokens]

    def _checked(self, prompt: Prompt) -> Prompt:
        if self.window is not None and len(prompt) > self.window:
            raise TooLong(
                f"prompt: found {len(prompt)} tokens, expected at most {self.window}, which the language model can "
                "read. The question's words and the answer are never cut. Ask a shorter question."
            )
        return prompt

    def answer(self, question: str, frames: int, answer: str | None = None) -> Prompt:
        """Write the prompt of an open question, whose target is the answer's text."""
        target = None if answer is None else " " + answer
        return self._checked(self._build(self.templates.answer, frames, self.templates.open_body(question), target))

    def describe(self, frames: int, description: str | None = None) -> Prompt:
        """Write the prompt of a summary, whose target is the dense description."""
        target = None if description is None else " " + description
        return self._checked(self._build(self.templates.describe, frames, self.templates.description, target))

    def candidates(self, question: str, options: Sequence[str], frames: int, by_letter: bool) -> list[Prompt]:
        """Write one whole prompt per option, which option scoring compares: with the option's letter as the target
        behind all options, or with its text as a free answer. Raises as `choose` does."""
        check_number(options)
        if by_letter:
            return [self.choose(question, options, frames, index) for index in range(len(options))]
        return [self.answer(question, frames, option) for option in options]

    def letter(self, index: int) -> str:
        """Return the name of the option at `index` in an answer."""
        return self.templates.choice.format(letter=LETTERS[index])

    def target_ids(self, text: str) -> tuple[int, ...]:
        """Encode a target on its own, with the end of sequence: what option scoring appends to a prompt."""
        eos = self.tokenizer.eos_token_id
        return (*self.encode(text), *(() if eos is None else (eos,)))

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that the tokenizer has no token for (word-level tokenizers only)."""
        unknown = self.tokenizer.unk_token_id
        return [] if unknown is None else [w for w in text.split() if unknown in self.encode(w)]

    def encode(self, text: str) -> tuple[int, ...]:
        """Encode one segment, without special tokens."""
        ids = self._known.get(text)
        if ids is None:
            # Split: a question that contains "</s>" is text, and doesn't end the sequence.
            with self._lock:
                encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
            ids = tuple(encoded["input_ids"])
            if len(self._known) >= _KNOWN:  # a run over millions of texts must not keep them all
                self._known.clear()
            self._known[text] = ids
        return ids

    def _build(self, head: str, frames: int, body: str, target: str | None) -> Prompt:
        bos = self.tokenizer.bos_token_id
        before = (*(() if bos is None else (bos,)), *self.encode(head))
        slots = (len(before), len(before) + frames * self.tokens_per_frame)
        prefix = (*before, *([0] * (slots[1] - slots[0])), *self.encode(body))
        target_tokens = () if target is None else self.target_ids(target)
        return Prompt((*prefix, *target_tokens), slots, (len(prefix), len(prefix) + len(target_tokens)))


def check_number(options: Sequence[str]) -> None:
    """Raise InputError unless there are two to ten options, none of them empty."""
    if len(options) < 2:
        raise InputError(f"options: found {len(options)}; expected at least two. Give --choice TEXT twice or more.")
    if len(options) > len(LETTERS):
        raise InputError(f"options: found {len(options)}; expected at most {len(LETTERS)}.")
    if not all(option.strip() for option in options):
        raise InputError("options: found an empty one; expected text in each.")


def check_options(options: Sequence[str]) -> None:
    """Raise InputError for options of a user that fail `check_number`, or aren't all different."""
    check_number(options)
    stripped = [o.strip() for o in options]
    repeated = sorted({o for o in stripped if stripped.count(o) > 1})
    if repeated:
        raise InputError(f"options: {', '.join(map(repr, repeated))} found more than once; expected different options.")
