"""A vocabulary, a random model and Tideo-like samples, all tiny."""

from __future__ import annotations

import re

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from models.tiny import FEATURES, FRAMES, VOCABULARY, llm
from topa.models import VideoLanguageModel
from topa.prompts.prompt import Prompter
from topa.prompts.templates import LETTERS, TOPA
from topa.tideos.tideo import Question
from topa.training.config import AlignConfig
from topa.training.data import AlignmentSet, Labels

COLOURS = ("red", "blue", "green", "white", "black")
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_WORDS = ("the", "a", "ball", "is", "hand", "what", "colour", "which", "one", "comes", "first", "small")
_TOKEN = r"\w+|[^\w\s]"
_TEXTS = (TOPA.choose, TOPA.answer, TOPA.describe, TOPA.question, TOPA.options, TOPA.reply, TOPA.description)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; as many tokens as `models.tiny` has embeddings, at most."""
    words = [*LETTERS[:6], *"12345()", *COLOURS, *_WORDS]
    for text in _TEXTS:
        words += re.findall(_TOKEN, re.sub(r"{\w+}", "", text))
    words = [*SPECIAL, *sorted(set(words) - set(SPECIAL))]
    assert len(words) <= VOCABULARY
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [inner.pre_tokenizer, pre_tokenizers.Split(Regex(_TOKEN), "isolated")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def prompter(tokens_per_frame: int = 1) -> Prompter:
    return Prompter(tokenizer(), tokens_per_frame)


def words_of(prompter: Prompter, ids: list[int] | tuple[int, ...] | Tensor) -> list[str]:
    """The tokens behind ids, as words."""
    return prompter.tokenizer.convert_ids_to_tokens([int(i) for i in ids])


def model(tokens_per_frame: int = 1) -> VideoLanguageModel:
    """As training begins: gates closed."""
    base = llm()
    torch.manual_seed(5)
    return VideoLanguageModel(
        base, FEATURES, frames=FRAMES, tokens_per_frame=tokens_per_frame, prompt_length=6, bias=0.0, prompt_std=0.2
    )


def question(answer: int = 0) -> Question:
    return Question(question="what colour is the ball", options=COLOURS[:4], answer=answer, answer_text=COLOURS[answer])


def samples(number: int = 12, *, padded: bool = True) -> AlignmentSet:
    """Balls of a colour, which the first frame's feature tells; every third sample has two frames less."""
    generator = torch.Generator().manual_seed(1)
    directions = functional.normalize(torch.randn(4, FEATURES, generator=generator), dim=-1)
    values = functional.normalize(torch.randn(number, FRAMES, FEATURES, generator=generator), dim=-1)
    valid = torch.ones(number, FRAMES, dtype=torch.bool)
    labels = []
    for i in range(number):
        values[i, :] = directions[i % 4]
        if padded and i % 3 == 0:
            values[i, -2:], valid[i, -2:] = 0, False
        described = f"the ball is {COLOURS[i % 4]}" + " the ball is small" * (i % 2)
        labels.append(Labels(described, (question(i % 4),)))
    return AlignmentSet(values, valid, tuple(labels))


def config(**changes: object) -> AlignConfig:
    settings: dict[str, object] = {
        "llm": "tiny",
        "encoder": "tiny",
        "frames": FRAMES,
        "prompt_length": 6,
        "batch_size": 4,
        "epochs": 3,
        "lr": 2e-2,
        "weight_decay": 0.0,
        "checkpoint_minutes": 1000.0,
    }
    return AlignConfig(**settings | changes)
