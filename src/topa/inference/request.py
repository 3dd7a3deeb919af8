"""A request to the engine, and the checks that need no model. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.errors import InputError, UsageError
from ..core.protocols import Protocol
from ..prompts.prompt import check_options

if TYPE_CHECKING:
    from .video_inputs import SegmentedInputs, VideoInputs

ANSWER_TOKENS, CAPTION_TOKENS = 40, 80
"""Tokens that are generated at most, where a request doesn't say."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. temperature: 0 takes the likeliest token. top_p: draw from the smallest set of
    likeliest tokens whose probabilities add up to this. seed: None draws a new one for each text."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Settings of generated text. max_tokens: None for `ANSWER_TOKENS` or `CAPTION_TOKENS`. top_logprobs: number of
    alternatives reported for each token, with log-probabilities; None reports none, of the token itself neither.
    stop: texts that end the answer and are no part of it."""

    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    top_logprobs: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One question for `Topa.answer`.

    inputs: the video. question: None asks for a caption. options: two to ten, compared by `protocol` (default: the one
    that the model was aligned to); none for a free answer. permutations: with `selection`, list the options in every
    cyclic order and average each option's probability over them, so that no letter is preferred. subtitles: speech of
    the video, read before the question; segments of `inputs` have their own.
    """

    inputs: VideoInputs | SegmentedInputs
    question: str | None = None
    options: tuple[str, ...] = ()
    protocol: Protocol | None = None
    permutations: bool = False
    subtitles: str = ""
    generation: GenerationSettings = field(default_factory=GenerationSettings)


def check_question(question: str, choices: Sequence[str]) -> None:
    """Raise InputError for an empty question, a single choice, or choices that repeat."""
    if not question.strip():
        raise InputError("question: found nothing; expected a question, as in: topa ask VIDEO 'what happens ?'")
    if choices:
        check_options(choices)


def check_explained(question: str | None, choices: Sequence[str]) -> None:
    """Check what is to be explained: a question as `check_question` does, or a caption where there is none."""
    if question is not None:
        check_question(question, choices)
    elif choices:
        raise InputError("choices: found some without a question; expected a question to choose an answer for. Ask it.")


def check_candidates(video: object, candidate_frames: int | None, frames: int) -> None:
    """Raise UsageError where a model that reads `frames` frames is to choose them among fewer."""
    if candidate_frames is not None and candidate_frames < frames:
        raise UsageError(
            f"{video}: found candidate_frames={candidate_frames}; expected {frames} or more: the model reads so many "
            "frames. Ask for more, such as four times as many."
        )


def check_shiftable(bridge: str) -> None:
    """Raise UsageError for a model without a memory, which no pictures can be moved to."""
    if bridge == "raw":
        raise UsageError("adapt: this model reads pictures as they are; expected one with a memory to shift to.")


def check_query(query: str) -> None:
    """Raise InputError for an empty query."""
    if not query.strip():
        raise InputError("query: found nothing; expected words, as in: topa search LIBRARY 'a red ball'")


def check_permutations(protocol: Protocol) -> None:
    """Raise UsageError for permutations under a protocol that lists no options."""
    if protocol != "selection":
        raise UsageError(
            f"permutations: {protocol} lists no options, so their order plays no part; expected the protocol "
            "selection. Leave permutations out."
        )
