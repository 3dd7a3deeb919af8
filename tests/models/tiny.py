"""Tiny random language models of several families, and batches for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from topa.models import VideoLanguageModel

VOCABULARY, WIDTH, FEATURES, FRAMES = 61, 32, 12, 5
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Sliding windows are shorter than the sequences of the tests, so that they matter.
_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "mistral": ("Mistral", {"sliding_window": 11}),
    "gemma2": ("Gemma2", {"head_dim": 16, "sliding_window": 11, "query_pre_attn_scalar": 16}),
    "gemma3": (
        "Gemma3",
        {
            "head_dim": 16,
            "sliding_window": 11,
            "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "olmo2": ("Olmo2", {}),
    "granite": ("Granite", {"logits_scaling": 3.0, "attention_multiplier": 0.2}),
    "smollm3": ("SmolLM3", {}),
    "phi": ("Phi", {}),
    "phi3": ("Phi3", {"sliding_window": 11}),
    "cohere": ("Cohere", {}),
    "opt": ("OPT", {"ffn_dim": 48, "word_embed_proj_dim": WIDTH}),
    "qwen3_moe": ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
}
FAMILIES = tuple(_FAMILIES)


def llm(family: str = "llama", **changes: Any) -> PreTrainedModel:
    """A random model of a family; its weights are large enough for its logits to differ visibly."""
    name, own = _FAMILIES[family]
    config_class = getattr(transformers, f"{name}TextConfig" if family == "gemma3" else f"{name}Config")
    torch.manual_seed(3)
    model: PreTrainedModel = getattr(transformers, f"{name}ForCausalLM")(config_class(**_COMMON | own | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    if getattr(model.config, "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")  # which caps in every release; fused kernels leave the cap out in some
    return model.eval()


def model(
    family: str = "llama", *, tokens_per_frame: int = 1, opened: bool = True, **changes: Any
) -> VideoLanguageModel:
    """A tiny video language model; `opened`: with gates and biases that are neither zero nor all the same."""
    base = llm(family, **changes)
    torch.manual_seed(5)
    made = VideoLanguageModel(base, FEATURES, frames=FRAMES, tokens_per_frame=tokens_per_frame, prompt_length=6)
    with torch.no_grad():
        for layer in made.prompts:
            layer.gate.normal_() if opened else layer.gate.zero_()
            layer.video_bias.normal_(std=2) if opened else layer.video_bias.zero_()
    return made


def batch(rows: int = 3, tokens_per_frame: int = 1, before: int = 4, after: int = 9) -> dict[str, Tensor]:
    """input_ids, frames and is_slot of `rows` prompts: text, all frames, text."""
    slots = FRAMES * tokens_per_frame
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, VOCABULARY, (rows, before + slots + after), generator=generator)
    is_slot = torch.zeros_like(ids, dtype=torch.bool)
    is_slot[:, before : before + slots] = True
    frames = functional.normalize(torch.randn(rows, FRAMES, FEATURES, generator=generator), dim=-1)
    return {"input_ids": ids, "frames": frames, "is_slot": is_slot}


def padded(inputs: dict[str, Tensor], widths: list[int], side: str) -> dict[str, Tensor]:
    """The batch with `widths[i]` last tokens of row i cut off and put back as padding on one side."""
    ids, is_slot = inputs["input_ids"].clone(), inputs["is_slot"].clone()
    mask = torch.ones_like(is_slot)
    for row, width in enumerate(widths):
        ids[row, ids.shape[1] - width :] = 0
        mask[row, ids.shape[1] - width :] = False
        if side == "left":
            ids[row], is_slot[row], mask[row] = (value[row].roll(width) for value in (ids, is_slot, mask))
    return {**inputs, "input_ids": ids, "is_slot": is_slot, "attention_mask": mask}
