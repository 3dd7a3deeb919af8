"""How one of several options is chosen, by name: the same three ways for every benchmark.

    selection    the letter's likelihood behind the listed options
    logits       each option's text as a free answer, its mean likelihood
    similarity   a free answer is generated; the option nearest to it in the encoder's text space wins

Source: TOPA (arXiv 2405.13911), section 4. Reads questions and what the LLM is shown, gives one `Chosen` per question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from ..core.errors import InputError, UsageError
from ..core.registry import unknown
from ..features.encoder import Encoder
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt, Prompter, check_number
from .scoring import Scores, generate, score_rows

Choosing = Literal["selection", "logits", "similarity"]
_TEMPERATURE = 0.01
"""Of the softmax over cosines, CLIP's own."""
_LEAST = 1e-30  # of a probability, so that its logarithm is a number
_TOKENS = 1 << 13  # that are kept at a time while answers are generated


def choosing(name: str) -> Choosing:
    """The protocol of a name. Raises UsageError with the nearest known one."""
    for known in get_args(Choosing):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise unknown("protocol", name, get_args(Choosing))


class HasOptions(Protocol):
    """What a question with options is here: `Example`s and `Question`s are."""

    @property
    def question(self) -> str:
        """Its words."""
        ...

    @property
    def options(self) -> tuple[str, ...]:
        """As they were published: they may repeat."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """scores: one per option, the lowest wins: mean negative log-likelihoods, or 1 - cosine (`similarity`), or the
    negative logarithm of the mean probability (permutations). probabilities: one per option. text: the chosen option,
    or what was generated (`similarity`). cut: tokens of the listed options that the LLM's window had no room for."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    text: str
    cut: int = 0

    @property
    def choice(self) -> int:
        """The index of the chosen option; the first of equals."""
        return min(range(len(self.scores)), key=self.scores.__getitem__)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who answers, and how. encoder: for `similarity` alone. permutations: with `selection`, options are listed in
    every cyclic order and each option's probability is the mean over them, so that no letter is preferred; it costs as
    many times as there are options. max_tokens: of a generated answer.

    Raises UsageError for an unknown protocol, or permutations where no options are listed.
    """

    model: VideoLanguageModel
    prompter: Prompter
    encoder: Encoder
    protocol: Choosing = "selection"
    permutations: bool = False
    max_tokens: int = 40

    def __post_init__(self) -> None:
        choosing(self.protocol)
        if self.permutations and self.protocol != "selection":
            raise UsageError(
                f"permutations: {self.protocol} lists no options, so their order plays no part; expected the protocol "
                "selection. Leave permutations out."
            )

    def choose(
        self,
        questions: Sequence[HasOptions],
        frames: Tensor,
        valid: Tensor,
        videos: Sequence[int],
    ) -> list[Chosen | InputError]:
        """An answer to every question, or why there is none: its options are fewer than two, or too long.

        frames: float32 [V, T, D]; valid: bool [V, T]; videos: which of them each question is about.
        """
        shown = valid.sum(dim=1).tolist()
        chosen: dict[int, Chosen | InputError] = {}
        written: dict[int, list[list[Prompt]]] = {}
        for number, (question, video) in enumerate(zip(questions, videos, strict=True)):
            try:
                written[number] = self._prompts(question, shown[video])
            except InputError as error:
                chosen[number] = error
        if not written:
            return [chosen[number] for number in range(len(questions))]
        about = [videos[number] for number in written]
        asked = [questions[number] for number in written]
        turns = list(written.values())
        if self.protocol == "similarity":
            answered = self._nearest(asked, [rows[0][0] for rows in turns], frames, valid, about)
        else:
            answered = self._likeliest(asked, turns, frames, valid, about)
        chosen |= zip(written, answered, strict=True)
        return [chosen[number] for number in range(len(questions))]

    def say(self, prompts: Sequence[Prompt], frames: Tensor, valid: Tensor, videos: Sequence[int]) -> list[str]:
        """The greedy continuation of each prompt: at most `max_tokens` tokens, and no more than the window holds.

        frames, valid, videos: as for `choose`.
        """
        if not prompts:
            return []
        longest = max(map(len, prompts))
        room = self.max_tokens
        if self.prompter.window is not None:
            room = max(1, min(room, self.prompter.window - longest))
        together = max(1, _TOKENS // (longest + room))
        said = []
        for start in range(0, len(prompts), together):
            part, about = prompts[start : start + together], videos[start : start + together]
            said += generate(self.model, self.prompter, part, frames, valid, room, about)
        return said

    def _prompts(self, question: HasOptions, shown: int) -> list[list[Prompt]]:
        """What is read for a question: for each order of its options, a prompt per option."""
        check_number(question.options)
        if self.protocol == "similarity":
            return [[self.prompter.answer(question.question, shown)]]
        by_letter = self.protocol == "selection"
        orders = [question.options]
        if self.permutations:
            orders = [question.options[turn:] + question.options[:turn] for turn in range(len(question.options))]
        return [self.prompter.candidates(question.question, options, shown, by_letter) for options in orders]

    def _likeliest(
        self,
        questions: Sequence[HasOptions],
        turns: Sequence[Sequence[Sequence[Prompt]]],
        frames: Tensor,
        valid: Tensor,
        videos: Sequence[int],
    ) -> list[Chosen]:
        rows = [row for rows in turns for row in rows]
        about = [video for video, rows in zip(videos, turns, strict=True) for _ in rows]
        found = iter(score_rows(self.model, rows, frames, valid, about, by_letter=self.protocol == "selection"))
        return [
            _chosen(question.options, list(islice(found, len(rows))))
            for question, rows in zip(questions, turns, strict=True)
        ]

    def _nearest(
        self,
        questions: Sequence[HasOptions],
        prompts: Sequence[Prompt],
        frames: Tensor,
        valid: Tensor,
        videos: Sequence[int],
    ) -> list[Chosen]:
        said = self.say(prompts, frames, valid, videos)
        texts = [(own, *question.options) for own, question in zip(said, questions, strict=True)]
        rows = self.encoder.encode_texts([text for group in texts for text in group])
        chosen = []
        for own, part in zip(said, torch.split(rows, [len(group) for group in texts]), strict=True):
            cosines = part[1:] @ part[0]
            shares = torch.softmax(cosines / _TEMPERATURE, dim=0)
            chosen.append(Chosen(tuple((1 - cosines).tolist()), tuple(shares.tolist()), own))
        return chosen


def _chosen(options: Sequence[str], scores: Sequence[Scores]) -> Chosen:
    """Of the scores of one order of the options, or of every cyclic order in turn."""
    if len(scores) == 1:
        (only,) = scores
        return Chosen(only.mean_nll, only.probabilities, options[only.choice], only.cut)
    number = len(options)
    shares = tuple(
        sum(turned.probabilities[(option - turn) % number] for turn, turned in enumerate(scores)) / number
        for option in range(number)
    )
    costs = tuple(-math.log(max(share, _LEAST)) for share in shares)
    return Chosen(costs, shares, options[min(range(number), key=costs.__getitem__)], scores[0].cut)
