"""Tiny random language models, saved as ordinary folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from topa.tideos.seeds import Seed
from topa.tideos.writer_prompt import WriterPrompt

ENDS = [1, 5]
SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
COMMON = {"vocab_size": 640, "bos_token_id": 0, "eos_token_id": ENDS, "pad_token_id": 2, "initializer_range": 0.3}
TEMPLATE = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if enable_thinking is not defined or enable_thinking %}Well, {% endif %}"
)
SEED = Seed(id="0", kind="own", text="a kite")


def tokenizer(*, alphabet: bool = True, template: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few sentences; without its alphabet it knows only the letters in them."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=letters, show_progress=False
    )
    sentences = ["a red kite flies over the sea", "somebody cuts an onion", "the kite comes down"]
    model.train_from_iterator([*sentences, WriterPrompt().render(SEED)] if alphabet else sentences, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    if template:
        fast.chat_template = TEMPLATE
    return fast


def save(folder: Path, family: Any, config: Any, words: PreTrainedTokenizerFast) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = family(config)
    model.generation_config.eos_token_id = ENDS
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def llama(folder: Path, *, window: int = 16384, **options: Any) -> Path:
    config = LlamaConfig(**SIZES, **COMMON, max_position_embeddings=window)
    return save(folder, LlamaForCausalLM, config, tokenizer(**options))
