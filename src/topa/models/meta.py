"""Weights in Meta's naming, with their tokenizer, as Hugging Face's model and tokenizer.

Reads a folder of `params.json`, `consolidated.*.pth` and `tokenizer.model`, or tensors in memory.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer, PreTrainedTokenizerFast

from ..core.errors import ArtifactMismatch, InputError
from ..core.install import install_line
from .compat import llama_rotary_embedding, tiktoken_tokenizer

# Meta's name of a layer's matrix -> Hugging Face's.
_LAYER = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_TOP = {"tok_embeddings.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
_TOP["output.weight"] = "lm_head.weight"
# Llama-3's special tokens, in the order of their ids behind the vocabulary.
_LLAMA3_NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    9: "<|eot_id|>",
}
_LLAMA3_SPECIAL = 256


def is_meta_folder(folder: str | Path) -> bool:
    """Return whether a folder holds a model in Meta's naming."""
    return (Path(folder) / "params.json").is_file() and not (Path(folder) / "config.json").is_file()


def load_legacy(path: Path) -> dict[str, Any]:
    """Load a published `.pth` file: tensors, numbers and an argparse Namespace, without executing anything in it.

    Raises InputError for anything else.
    """
    for mapped in (True, False):  # files of old torch versions can't be mapped
        try:
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickle protocols that torch reads or refuses all the same
                loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # torch.load has no family of errors of its own
            if not mapped:
                raise InputError(
                    f"{path}: not a checkpoint of tensors that can be read safely: {error}. Expected a .pth file of "
                    "tensors and plain values. Copy or download it again."
                ) from error
        else:
            return loaded
    raise AssertionError("unreachable")


def read_meta(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the merged weights of a folder, memory-mapped where it has one shard, and params.json.

    Raises InputError where there are no weights, ArtifactMismatch where the shards don't belong together.
    """
    try:
        params = dict(json.loads((folder / "params.json").read_bytes()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder / 'params.json'}: not a JSON object ({error}). Copy it again.") from error
    if absent := [key for key in ("dim", "n_layers", "n_heads", "norm_eps") if key not in params]:
        raise InputError(f"{folder / 'params.json'}: found no {', '.join(absent)}; expected a Llama's parameters.")
    paths = sorted(folder.glob("*.pth"))
    if not paths:
        raise InputError(f"{folder}: found params.json but no weights; expected consolidated.00.pth and so on.")
    return merge_shards([load_legacy(path) for path in paths]), params


def merge_shards(shards: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Merge the tensor-parallel shards of Meta weights, in order.

    wq, wk, wv, w1, w3 and the output are split by rows, wo, w2 and the token embeddings by columns; norms are
    replicated. Raises ArtifactMismatch where the shards don't hold the same names.
    """
    names = set(shards[0])
    if any(set(shard) != names for shard in shards):
        differing = sorted({name for shard in shards for name in names ^ set(shard)})
        raise ArtifactMismatch(
            f"Meta weights: the shards hold different tensors ({', '.join(differing[:3])}, {len(differing)} in all). "
            "Give all shards of one model."
        )
    merged = {}
    for name in shards[0]:
        parts = [shard[name] for shard in shards]
        if parts[0].ndim == 1 or len(parts) == 1:
            merged[name] = parts[0]
        else:
            columns = re.search(r"\.(wo|w2)\.|tok_embeddings\.", name) is not None
            merged[name] = torch.cat(parts, dim=1 if columns else 0)
    return merged


def llama_from_meta(
    weights: Mapping[str, Tensor],
    params: Mapping[str, Any],
    *,
    rope_theta: float | None = None,
    last_layers: int | None = None,
) -> LlamaForCausalLM:
    """Make a Hugging Face Llama of Meta's weights, in their float type. Meta-device weights give a checked shell.

    weights: Meta's names, merged. params: what params.json holds; the vocabulary and the width of the feed-forward
    come from the weights. rope_theta: None for the one in `params` (10,000 where it says nothing); the released
    Llama-3 adapters were trained with 10,000. last_layers: build these top layers only, as the released code runs a
    model with fewer adapted layers. Raises ArtifactMismatch that lists missing, unexpected and misshapen tensors.
    """
    heads, layers, width = int(params["n_heads"]), int(params["n_layers"]), int(params["dim"])
    kv_heads = int(params.get("n_kv_heads") or heads)
    first = 0 if last_layers is None else layers - last_layers
    theta = float(params.get("rope_theta") or 10000.0) if rope_theta is None else rope_theta
    vocabulary, hidden = weights.get("tok_embeddings.weight"), weights.get("layers.0.feed_forward.w1.weight")
    config = LlamaConfig(
        vocab_size=1 if vocabulary is None else len(vocabulary),
        hidden_size=width,
        intermediate_size=1 if hidden is None else len(hidden),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        rms_norm_eps=float(params["norm_eps"]),
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        tie_word_embeddings=False,
    )
    names = dict(_TOP)
    names |= {
        f"layers.{i}.{meta}.weight": f"model.layers.{i}.{hf}.weight"
        for i in range(layers)
        for meta, hf in _LAYER.items()
    }
    with torch.device("meta"):  # nothing is initialised only to be replaced
        expected = {name: tuple(t.shape) for name, t in LlamaForCausalLM(config).state_dict().items()}
        config.num_hidden_layers = layers - first
        model = LlamaForCausalLM(config)
    faults = [f"{name} is missing" for name in names if name not in weights]
    faults += [f"{name} is unexpected" for name in weights if name not in names and name != "rope.freqs"]
    faults += [
        f"{name} is {tuple(weights[name].shape)}, expected {expected[names[name]]}"
        for name in names
        if name in weights and tuple(weights[name].shape) != expected[names[name]]
    ]
    if faults:
        raise ArtifactMismatch(f"Meta weights don't fit params.json ({dict(params)}): {'; '.join(faults)}.")
    model.load_state_dict(_hf_state(weights, names, first, heads, kv_heads), assign=True)
    # The one thing that isn't in the weights: rotary frequencies, which follow from the configuration.
    model.model.rotary_emb = llama_rotary_embedding(config)
    return model


def _hf_state(
    weights: Mapping[str, Tensor], names: Mapping[str, str], first: int, heads: int, kv_heads: int
) -> dict[str, Tensor]:
    """Rename the weights of layer `first` and above to Hugging Face's names; names: these, by Meta's."""
    state = {}
    for meta, hf in names.items():
        tensor = weights[meta]
        if meta.startswith("layers."):
            index = int(meta.split(".")[1]) - first
            if index < 0:
                continue
            if meta.endswith(("wq.weight", "wk.weight")):
                tensor = _to_half_split(tensor, heads if meta.endswith("wq.weight") else kv_heads)
            hf = re.sub(r"layers\.\d+", f"layers.{index}", hf)
        state[hf] = tensor
    return state


def meta_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a Meta folder: `tokenizer.model` in it or beside it, SentencePiece's (Llama-2) or
    tiktoken's (Llama-3). Raises InputError where there is none, or the package that reads it isn't installed."""
    path = next((p for p in (folder / "tokenizer.model", folder.parent / "tokenizer.model") if p.is_file()), None)
    if path is None:
        raise InputError(f"{folder}: found no tokenizer.model in it or beside it; expected the one of this Llama.")
    try:
        if _is_tiktoken(path):
            return _llama3_tokenizer(path)
        tokenizer: PreTrainedTokenizerFast = LlamaTokenizer.from_pretrained(path.parent)
    except ImportError as error:
        raise InputError(f"{path}: needs another package to be read: {install_line('released')}") from error
    except Exception as error:  # each library has errors of its own for a damaged file
        raise InputError(f"{path}: can't be read as a Llama tokenizer ({error}). Copy or download it again.") from error
    return tokenizer


def _is_tiktoken(path: Path) -> bool:
    """Recognise tiktoken's files: lines of base64 and a rank. SentencePiece's are binary."""
    with path.open("rb") as file:
        return re.fullmatch(rb"[A-Za-z0-9+/]+=* \d+\s*", file.readline(400)) is not None


def _llama3_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    numbers = iter(range(_LLAMA3_SPECIAL))
    special = [_LLAMA3_NAMED.get(i) or f"<|reserved_special_token_{next(numbers)}|>" for i in range(_LLAMA3_SPECIAL)]
    return PreTrainedTokenizerFast(
        tokenizer_object=tiktoken_tokenizer(path, special),
        bos_token=_LLAMA3_NAMED[0],
        eos_token=_LLAMA3_NAMED[1],
        clean_up_tokenization_spaces=False,
    )


def _to_half_split(weight: Tensor, heads: int) -> Tensor:
    """Reorder rows of wq or wk from Meta's rotary pairs (2i, 2i+1) to the halves (i, i + d/2) that HF rotates."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)
