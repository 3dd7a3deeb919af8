"""Attaching the adapter to any Hugging Face causal language model, through transformers' attention interface.

Reads the layer's queries, keys and values and an `AdapterCall`; writes the layer's attention for `models.topa_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from ..core.errors import ArtifactMismatch, UsageError
from .adapter import GatedPrompts
from .compat import (
    attention_implementation,
    causal_mask_function,
    register_attention,
    repeat_kv,
    sdpa_attention_forward,
    sdpa_mask,
    supports_attention_interface,
)
from .last_layer import narrow_last_layer

IMPLEMENTATION = "topa"
# Modules an attention layer may consist of. A part that isn't here may change the keys in a way the prompt would miss.
_KNOWN_PARTS = {"q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "dense", "q_norm", "k_norm", "rotary_emb"}
EXTRA = 8
"""By how much the video bias widens a head: widths stay multiples of 8, which fast attention kernels ask for."""

PromptStates = dict[int, tuple[Tensor, Tensor]]


@dataclass(slots=True)
class AttentionTrace:
    """A record of attention in a batch of one row without a cache. columns: int64 [N], the positions that read;
    weights: by layer, float32 [h, N, K], what each of them gives to every token, rows adding up to 1. What the gated
    prompts add has a softmax of its own and isn't in it."""

    columns: Tensor
    weights: dict[int, Tensor] = field(default_factory=dict)


@dataclass(slots=True)
class AdapterCall:
    """What one forward pass hands to every attention layer: a keyword argument, so that no module holds state.

    prompts: the adapter of each adapted layer, by the layer's index. after_video: bool [B, Q], queries behind frames.
    is_video: bool [B, K], keys that are frames; both None where there is no video. positions: rows and columns, int64
    [N] each, the only ones whose logits are wanted. pair_positions: int64 [B, Q] and [B, K], positions of queries and
    keys, which sliding windows count by under a mask of pairs. states: keys and values of the prompts if they were
    computed before, or an empty dict to fill; None never keeps them, which training needs. trace: records attention,
    for explanations. reached: layers that used the adapter. narrowed: whether the head got the wanted positions only.
    """

    prompts: Mapping[int, GatedPrompts]
    after_video: Tensor | None = None
    is_video: Tensor | None = None
    positions: tuple[Tensor, Tensor] | None = None
    pair_positions: tuple[Tensor, Tensor] | None = None
    states: PromptStates | None = None
    trace: AttentionTrace | None = None
    reached: set[int] = field(default_factory=set)
    narrowed: bool = False


def attach(llm: PreTrainedModel) -> None:
    """Route the attention of `llm` through `attend`. Without an `AdapterCall` the model computes what it did before.

    Adds nothing to the model's state dict. Raises UsageError, with the family's name and the reason, for a model
    that can't take the adapter.
    """
    reason = refusal(llm)
    if reason is not None:
        raise UsageError(f"{type(llm).__name__} can't take the adapter: {reason} Use another language model.")
    register_attention(IMPLEMENTATION, attend, _mask)
    llm.set_attn_implementation(IMPLEMENTATION)
    if _keep_positions not in llm.base_model._forward_hooks.values():
        llm.base_model.register_forward_hook(_keep_positions, with_kwargs=True)
        narrow_last_layer(llm)


def refusal(llm: PreTrainedModel) -> str | None:
    """Return why this model can't take the adapter, as a sentence; None if it can."""
    if not supports_attention_interface(llm):
        return "it doesn't call transformers' attention interface."
    config = llm.config.get_text_config()
    if getattr(config, "is_encoder_decoder", False) or not llm.can_generate():
        return "it isn't a causal language model."
    layers = {}
    for name, module in llm.base_model.named_modules():
        if "Attention" in type(module).__name__ and isinstance(getattr(module, "layer_idx", None), int):
            layers[module.layer_idx] = (name, module)
    missing = sorted(set(range(config.num_hidden_layers)) - set(layers))
    if missing:
        return f"layers {missing} have no softmax attention of their own."
    for name, module in layers.values():
        children = {child for child, _ in module.named_children()}
        if _is_fused(module, config):
            children -= {"qkv_proj"}
        for projection in () if _is_fused(module, config) else ("k_proj", "v_proj"):
            linear = getattr(module, projection, None)
            if not isinstance(linear, nn.Module) or getattr(linear, "in_features", None) != config.hidden_size:
                return f"{name} has no linear {projection} of its own; found {sorted(children)}."
        strange = sorted(children - _KNOWN_PARTS) + [p for p, _ in module.named_parameters(recurse=False)]
        if strange:
            return f"{name} has parts whose effect on the prompt's keys isn't known: {strange}."
        norm = getattr(getattr(module, "k_norm", None), "weight", None)
        if norm is not None and tuple(norm.shape) not in {(module.head_dim,), (module.k_proj.out_features,)}:
            return f"{name}.k_norm has an unknown shape {tuple(norm.shape)}."
    return None


def _is_fused(module: nn.Module, config: Any) -> bool:
    """Recognise Phi-3's layers: one projection whose rows are queries, keys and values, in this order."""
    fused = getattr(module, "qkv_proj", None)
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    rows = (heads + 2 * groups) * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return type(module).__name__ == "Phi3Attention" and fused is not None and fused.out_features == rows


def verify(llm: PreTrainedModel) -> None:
    """Raise UsageError unless `attend` is still the model's attention: any other would silently skip the adapter."""
    implementation = attention_implementation(llm)
    if implementation != IMPLEMENTATION:
        raise UsageError(
            f"{type(llm).__name__}: found attention implementation {implementation!r}, expected {IMPLEMENTATION!r}; "
            f"any other ignores the adapter. Undo it: llm.set_attn_implementation({IMPLEMENTATION!r})."
        )


def verify_reached(llm: PreTrainedModel, call: AdapterCall) -> None:
    """Raise ArtifactMismatch if a layer ran without its adapter, as in a family that drops keyword arguments."""
    missing = sorted(set(call.prompts) - call.reached)
    if missing:
        raise ArtifactMismatch(
            f"{type(llm).__name__}: the adapter didn't reach the layers {missing}; this family doesn't hand keyword "
            "arguments down to its attention. Use another language model."
        )


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    softcap: float | None = None,
    video_adapter: AdapterCall | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Compute the attention of one layer: its own, with the video bias, plus the gated prompts.

    query: [B, h, Q, d]; key, value: [B, g, K, d] with the cached ones first; attention_mask: bool or additive
    [B, 1 or h, Q, K], None where the layer is plainly causal (or Q is 1). Returns [B, Q, h, d].

    Source: TOPA (arXiv 2405.13911), released code: separate softmaxes over text and prompt. The video bias is exact.
    Deviation: prompt keys also pass the layer's key norm and soft cap where the family has them (not in Llama), so
    that their scores live on the scale of the text's.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    call = AdapterCall({}) if video_adapter is None else video_adapter
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    prompts = call.prompts.get(layer)
    bias, is_video = None, call.is_video
    if prompts is not None and is_video is not None:
        bias = prompts.video_bias[:, None] * call.after_video[:, None]  # type: ignore[index]  # [B, h, Q]
    if is_video is not None:
        # A cache of fixed size has empty keys behind what was read; one of a sliding window has only the last ones.
        is_video = functional.pad(is_video, (0, max(0, key.shape[2] - is_video.shape[1])))[:, -key.shape[2] :]
    if call.pair_positions is not None and rest.get("sliding_window"):
        attention_mask = _windowed(attention_mask, *call.pair_positions, rest["sliding_window"])
    if call.trace is not None:
        columns = call.trace.columns
        call.trace.weights[layer] = _traced_weights(
            query, key, attention_mask, bias, is_video, scaling, softcap, columns
        )
    if softcap is not None:
        out = _softcapped(query, key, value, attention_mask, bias, is_video, dropout, scaling, softcap)
    elif bias is None or is_video is None:
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **rest)
    else:
        folded = _fold(query, key, value, bias / scaling, is_video)
        out, _ = sdpa_attention_forward(module, *folded, attention_mask, dropout, scaling, **rest)
        out = out[..., : value.shape[-1]]
    if prompts is None:
        return out, None
    keys, values = _prompt_states(module, prompts, query, call.states)
    call.reached.add(layer)
    return out + prompts(query, keys, values, scaling, softcap), None


def _windowed(mask: Tensor | None, queries: Tensor, keys: Tensor, window: int) -> Tensor:
    """Remove pairs that are `window` positions or more apart from a mask of pairs."""
    near: Tensor = (queries[:, None, :, None] - keys[:, None, None, :]) < window
    return near if mask is None else near & mask


def _fold(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, is_video: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Widen the heads so that q'k' = qk + bias * is_video, exactly, whatever the mask.

    An additive mask that requires a gradient is one [B, h, Q, K] tensor and shuts out the fast kernels; this isn't.
    """
    flag = is_video.to(key.dtype)[:, None, :, None].expand(*key.shape[:3], 1)
    return (
        torch.cat([query, functional.pad(bias.to(query.dtype)[..., None], (0, EXTRA - 1))], dim=-1),
        torch.cat([key, functional.pad(flag, (0, EXTRA - 1))], dim=-1),
        functional.pad(value, (0, EXTRA)),
    )


def _softcapped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    is_video: Tensor | None,
    dropout: float,
    scaling: float,
    softcap: float,
) -> Tensor:
    """Compute attention with capped scores, which no fused kernel does. Returns [B, Q, h, d]."""
    soft = _weights(query, key, mask, bias, is_video, scaling, softcap)
    weights = functional.dropout(soft.to(value), dropout)
    read: Tensor = weights @ repeat_kv(value, query.shape[1] // key.shape[1])
    return read.transpose(1, 2)


def _weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    is_video: Tensor | None,
    scaling: float,
    softcap: float | None,
) -> Tensor:
    """Compute attention weights, float32 [B, h, Q, K]; arguments as in `attend`."""
    scores = query @ repeat_kv(key, query.shape[1] // key.shape[1]).transpose(2, 3) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None and is_video is not None:
        scores = scores + bias[..., None].to(scores) * is_video[:, None, None]
    if mask is None and query.shape[2] > 1:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        # The least finite number, since a row of nothing but -inf would be NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    return functional.softmax(scores, dim=-1, dtype=torch.float32)


def _traced_weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    is_video: Tensor | None,
    scaling: float,
    softcap: float | None,
    columns: Tensor,
) -> Tensor:
    """Compute `_weights` of the queries at these columns alone: float32 [h, N, K] of the one row of the batch."""
    if mask is None:
        mask = (torch.arange(key.shape[2], device=key.device) <= columns[:, None])[None, None]
    else:
        mask = mask[:, :, columns]
    bias = None if bias is None else bias[:, :, columns]
    return _weights(query[:, :, columns], key, mask, bias, is_video, scaling, softcap)[0]


def _prompt_states(
    module: Any, prompts: GatedPrompts, query: Tensor, states: PromptStates | None
) -> tuple[Tensor, Tensor]:
    """Compute keys and values [g, P, d] of the prompt by the layer's own frozen projections, without rotary."""
    if states is not None and module.layer_idx in states:
        return states[module.layer_idx]
    prompt = prompts.prompt.to(query)
    norm = getattr(module, "k_norm", None)
    keys, values = _project(module, prompt)
    if norm is not None:
        # As wide as one head (Qwen3, Gemma 3) or as all of them together (OLMo 2).
        keys = norm(keys.view(len(prompt), -1, norm.weight.shape[0]))
    keys = keys.view(len(prompt), -1, module.head_dim)
    values = values.view(len(prompt), -1, module.head_dim)
    computed = keys.transpose(0, 1), values.transpose(0, 1)
    if states is not None:
        states[module.layer_idx] = computed
    return computed


def _project(module: Any, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Project the prompt to keys and values by the layer's own projections: [P, g*d] each."""
    if not hasattr(module, "qkv_proj"):
        return module.k_proj(prompt), module.v_proj(prompt)
    width = module.num_key_value_heads * module.head_dim
    keys, values = module.qkv_proj(prompt)[:, -2 * width :].split(width, dim=-1)
    return keys, values


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Tensor] = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    **rest: Any,
) -> Tensor | None:
    """Build transformers' bool mask [B, 1, Q, K] (or None), whose sliding windows count visible tokens, not slots.

    Otherwise padding between tokens (masked frames, a right-padded prefix that goes on) would use up the window.
    """
    count_visible = mask_function
    if local_size is not None and attention_mask is not None:
        padded = functional.pad(attention_mask, (0, max(0, kv_offset + kv_length - attention_mask.shape[1])))
        position = padded.long().cumsum(dim=1)

        def count_visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return mask_function(batch, head, position[batch, query], position[batch, key])

    mask: Tensor | None = sdpa_mask(
        batch_size, q_length, kv_length, q_offset, kv_offset, count_visible, attention_mask, local_size, **rest
    )
    return mask


def _keep_positions(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """Leave only the wanted positions for the head: [B, S, H] becomes [1, N, H]; no family's head is rewritten."""
    call: AdapterCall | None = kwargs.get("video_adapter")
    if call is None or call.positions is None:
        return None
    rows, columns = call.positions
    call.narrowed = True
    output.last_hidden_state = output.last_hidden_state[rows, columns][None]
    return output
