"""Tiny Llamas as Meta publishes them: shards, params.json, and a real tokenizer.model of either generation."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path

import sentencepiece
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

TEXTS = [
    "Instruction: Choose the correct answer based on the video and question.\nVideo:",
    "Instruction: Predict the answer based on the video and question.\nVideo:",
    "Instruction: Generate a summary for the video.\nVideo:",
    "Instruction: Generate a dense description for the video.\nVideo:",
    "Question: What does the man do first?\nChoices: \n(A) he opens a door\n(B) he sits down\n(C) he runs\n"
    "(D) he eats\n(E) he waits\nAnswer: The correct choice is (A)",
    "\nDescription: A man opens a door and sits down.\n",
    "Question: Why?\nAnswer: because he is tired\n",
]
# Llama-3's own; what tiktoken is given when its file is read.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


def sentencepiece_model(folder: Path) -> Path:
    """`tokenizer.model` of Llama-2's kind: BPE with bytes to fall back on."""
    (folder / "texts.txt").write_text("\n".join(text.replace("\n", " ") for text in TEXTS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(folder / "tokenizer"), vocab_size=420, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        add_dummy_prefix=True, split_digits=True, minloglevel=2, allow_whitespace_only_pieces=True,
    )  # fmt: skip
    return folder / "tokenizer.model"


def tiktoken_model(folder: Path) -> Path:
    """`tokenizer.model` of Llama-3's kind: lines of base64 and a rank."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=460, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator([*TEXTS * 9, "question.\n" * 9], trainer)
    to_byte = {inner.pre_tokenizer.pre_tokenize_str(chr(i))[0][0]: i for i in range(128)}
    # The bytes above 127 come in the order in which the alphabet lists what isn't printable.
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    to_byte |= {char: byte for byte, char in bytes_to_unicode().items()}
    tokens = sorted(inner.get_vocab().items(), key=lambda item: item[1])
    singles = [bytes([byte]) for byte in range(256)]
    merged = [bytes(to_byte[c] for c in token) for token, _ in tokens if len(token) > 1]
    lines = [base64.b64encode(t) + b" %d\n" % rank for rank, t in enumerate([*singles, *merged])]
    path = folder / "tokenizer.model"
    path.write_bytes(b"".join(lines))
    return path


def llama(vocabulary: int, **changes: object) -> LlamaForCausalLM:
    """A tiny Llama whose logits differ visibly; grouped keys."""
    torch.manual_seed(5)
    settings = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    } | changes  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**settings))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def to_meta(model: LlamaForCausalLM) -> dict[str, Tensor]:
    """The weights by Meta's names, with interleaved rotary pairs, written down again from the format's description."""
    own = {"q": "wq", "k": "wk", "v": "wv", "o": "wo"}
    feed = {"gate": "w1", "down": "w2", "up": "w3"}
    state = model.state_dict()
    found = {
        "tok_embeddings.weight": state["model.embed_tokens.weight"],
        "norm.weight": state["model.norm.weight"],
        "output.weight": state["lm_head.weight"],
        "rope.freqs": torch.ones(4),
    }
    for i in range(model.config.num_hidden_layers):
        at = f"model.layers.{i}"
        for name, meta in own.items():
            weight = state[f"{at}.self_attn.{name}_proj.weight"]
            if name in "qk":
                half = model.config.head_dim // 2
                rows = [
                    head * 2 * half + half * (row % 2) + row // 2
                    for head in range(len(weight) // (2 * half))
                    for row in range(2 * half)
                ]
                weight = weight[rows]
            found[f"layers.{i}.attention.{meta}.weight"] = weight
        for name, meta in feed.items():
            found[f"layers.{i}.feed_forward.{meta}.weight"] = state[f"{at}.mlp.{name}_proj.weight"]
        found[f"layers.{i}.attention_norm.weight"] = state[f"{at}.input_layernorm.weight"]
        found[f"layers.{i}.ffn_norm.weight"] = state[f"{at}.post_attention_layernorm.weight"]
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def meta_folder(folder: Path, model: LlamaForCausalLM, rope_theta: float | None = None) -> Path:
    """params.json and one shard."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    params = {
        "dim": config.hidden_size, "n_layers": config.num_hidden_layers, "n_heads": config.num_attention_heads,
        "n_kv_heads": config.num_key_value_heads, "vocab_size": -1, "norm_eps": config.rms_norm_eps, "multiple_of": 16,
    }  # fmt: skip
    if rope_theta is not None:
        params["rope_theta"] = rope_theta
    (folder / "params.json").write_text(json.dumps(params))
    torch.save(to_meta(model), folder / "consolidated.00.pth")
    return folder


def released_adapter(
    path: Path, model: LlamaForCausalLM, *, adapted: int = 3, prompt_length: int = 4, frames: int = 6, **args: object
) -> Path:
    """A `.pth` as TOPA's authors write it, with the optimiser's rest and their arguments."""
    torch.manual_seed(6)
    width, heads, layers = model.config.hidden_size, model.config.num_attention_heads, model.config.num_hidden_layers
    state = {
        "adapter_query.weight": torch.randn(adapted * prompt_length, width),
        "visual_proj.weight": torch.randn(width, 8) * 0.3,
        "temporal_emb.weight": torch.randn(frames, width) * 0.1,
    }
    for layer in range(layers):
        for gate, value in ((1, torch.randn(1, heads, 1, 1)), (2, torch.randn(1, heads, 1, 1) - 2)):
            state[f"layers.{layer}.attention.gate{gate}"] = value
    told = {"llama2": True, "llama3": False, "adapter_len": prompt_length, "tau": 100.0} | args
    saved = {"model": state, "optimizer": {"state": {}, "param_groups": []}, "epoch": 19, "scaler": {"scale": 1.0}}
    torch.save(saved | {"args": argparse.Namespace(**told)}, path)
    return path
