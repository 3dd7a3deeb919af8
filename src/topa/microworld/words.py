"""The tokenizer of the micro LLM: one token per word.

The vocabulary is collected from the micro world's grammar; any other word becomes `<unk>`.
"""

from __future__ import annotations

import random
import re
from dataclasses import astuple

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ..prompts.templates import LETTERS, TOPA
from . import language, questions
from .world import KINDS, write_story

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_TOKEN = re.compile(r"\w+|[^\w\s]")


def vocabulary() -> list[str]:
    """Return the words of captions, descriptions, questions, options and prompts: special tokens, then sorted words."""
    rng = random.Random(0)
    words = set(_TOKEN.findall(" ".join(str(t) for t in astuple(TOPA)).replace("{", " ").replace("}", " ")))
    words -= {"letter", "option"}
    words |= set(LETTERS[: questions.OPTIONS]) | {str(i) for i in range(1, 10)} | set(KINDS)
    for _ in range(2000):
        story = write_story(rng)
        sentences = [language.description(story)]
        for scene in story.scenes:
            sentences += [language.caption(scene, rng), *language.object_captions(scene, rng), *astuple(scene)]
        for kind in questions.KINDS_OF_QUESTION:
            for candidate in questions.candidates(story, kind):
                sentences += [candidate.question, candidate.answer, *candidate.pool]
        words |= set(_TOKEN.findall(" ".join(sentences)))
    return [*SPECIAL, *sorted(words)]


def tokenizer() -> PreTrainedTokenizerFast:
    """Create a word-level Hugging Face tokenizer over `vocabulary()`."""
    words = vocabulary()
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
