"""Published weights in Meta's naming, and the trainables TOPA's authors released, as a model of ours.

Reads tensors in memory (and, by `load_legacy`, one `.pth` file), writes a `LlamaForCausalLM` and an adapter state.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from ..core.errors import ArtifactMismatch, InputError

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


def load_legacy(path: Path) -> dict[str, Any]:
    """A published `.pth` file: tensors, numbers and an argparse Namespace, without executing anything it holds.

    Raises InputError for anything else.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no family of errors of its own
        raise InputError(f"{path}: not a checkpoint of tensors that can be read safely: {error}") from error
    return loaded


def merge_shards(shards: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One set of Meta weights from its tensor-parallel shards, in order.

    wq, wk, wv, w1, w3 and the output are split by rows, wo, w2 and the token embeddings by columns; norms are
    replicated. Raises ArtifactMismatch where the shards don't hold the same names.
    """
    names = set(shards[0])
    if any(set(shard) != names for shard in shards):
        raise ArtifactMismatch("Meta weights: the shards hold different tensors. Give all shards of one model.")
    merged = {}
    for name in shards[0]:
        parts = [shard[name] for shard in shards]
        if parts[0].ndim == 1:
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
    """A Hugging Face Llama with Meta's weights, in the weights' float type.

    weights: Meta's names, merged. params: what params.json holds; the vocabulary and the width of the feed-forward
    come from the weights. rope_theta: None for the one in `params` (10,000 where it says nothing); the released
    Llama-3 adapters were trained with 10,000. last_layers: build these top layers only, as the released code runs a
    model with fewer adapted layers. Raises ArtifactMismatch for missing or unknown tensors.
    """
    heads, layers, width = int(params["n_heads"]), int(params["n_layers"]), int(params["dim"])
    kv_heads = int(params.get("n_kv_heads") or heads)
    first = 0 if last_layers is None else layers - last_layers
    theta = float(params.get("rope_theta") or 10000.0) if rope_theta is None else rope_theta
    state: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in weights.items():
        layer = re.fullmatch(r"layers\.(\d+)\.(.+)\.weight", name)
        if name in _TOP:
            state[_TOP[name]] = tensor
        elif layer and layer[2] in _LAYER:
            if layer[2] in ("attention.wq", "attention.wk"):
                tensor = _to_half_split(tensor, heads if layer[2] == "attention.wq" else kv_heads)
            if int(layer[1]) >= first:
                state[f"model.layers.{int(layer[1]) - first}.{_LAYER[layer[2]]}.weight"] = tensor
        elif name != "rope.freqs":  # follows from rope_theta
            unknown.append(name)
    try:
        config = LlamaConfig(
            vocab_size=state["model.embed_tokens.weight"].shape[0],
            hidden_size=width,
            intermediate_size=state["model.layers.0.mlp.gate_proj.weight"].shape[0],
            num_hidden_layers=layers - first,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            rms_norm_eps=float(params["norm_eps"]),
            rope_parameters={"rope_type": "default", "rope_theta": theta},
            tie_word_embeddings=False,
        )
        model = LlamaForCausalLM(config).to(state["model.embed_tokens.weight"].dtype)
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ArtifactMismatch(f"Meta weights don't fit params.json ({dict(params)}): {error}") from error
    if missing or unexpected or unknown:
        raise ArtifactMismatch(f"Meta weights: missing {missing}, unexpected {[*unexpected, *unknown]}.")
    return model


def adapter_from_release(state: Mapping[str, Tensor], layers: int, prompt_length: int) -> dict[str, Tensor]:
    """Released trainables, the `model` of a released `.pth`, as the state of a `VideoLanguageModel`.

    layers: of the whole LLM. prompt_length: P, so that `adapter_query` [n*P, H] tells n, the adapted layers, which
    are the last ones. The gates of other layers, which the released code stores and never reads, are left out.
    Raises ArtifactMismatch for missing or unknown tensors.
    """
    rest = dict(state)
    try:
        query = rest.pop("adapter_query.weight")
        converted = {
            "projector.linear.weight": rest.pop("visual_proj.weight"),
            "projector.temporal": rest.pop("temporal_emb.weight"),
        }
        prompts = query.view(-1, prompt_length, query.shape[1])
        first = layers - len(prompts)
        for layer in range(layers):
            gate = rest.pop(f"layers.{layer}.attention.gate1").flatten()
            bias = rest.pop(f"layers.{layer}.attention.gate2").flatten()
            if layer >= first:
                at = f"prompts.{layer - first}"
                converted |= {f"{at}.prompt": prompts[layer - first], f"{at}.gate": gate, f"{at}.video_bias": bias}
    except (KeyError, RuntimeError) as error:
        raise ArtifactMismatch(
            f"released trainables: found {sorted(state)}, which don't fit {layers} layers and prompts of "
            f"{prompt_length}: {error}"
        ) from error
    if rest:
        raise ArtifactMismatch(f"released trainables: unexpected {sorted(rest)}.")
    return converted


def _to_half_split(weight: Tensor, heads: int) -> Tensor:
    """Rows of wq or wk from Meta's interleaved rotary pairs (2i, 2i+1) to the halves (i, i + d/2) that HF rotates."""
    rows, width = weight.shape
    return weight.view(heads, rows // heads // 2, 2, width).transpose(1, 2).reshape(rows, width)
