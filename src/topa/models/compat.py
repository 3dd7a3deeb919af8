"""All that leans on what transformers doesn't promise, for every release that pyproject.toml allows.

Other modules use its documented classes only, which a test of their imports asserts. `make test-oldest` and
`make test-newest` run the suite on both ends of the range.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, LlamaConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask
from transformers.modeling_layers import GradientCheckpointingLayer

__all__ = [
    "DynamicCache",
    "attention_implementation",
    "cache_argument",
    "cached_layers",
    "cached_length",
    "causal_mask_function",
    "checkpoint_layers",
    "copy_cache",
    "decoder_layers",
    "llama_rotary_embedding",
    "passed_cache",
    "recomputes_layers",
    "register_attention",
    "repeat_kv",
    "sdpa_attention_forward",
    "sdpa_mask",
    "supports_attention_interface",
    "tiktoken_tokenizer",
]

# The name of a forward pass's cache: since 5.24, and before.
_CACHE_NAMES = ("cache", "past_key_values")


def register_attention(name: str, attention: Callable[..., Any], mask: Callable[..., Any]) -> None:
    """Make an attention implementation known to all models, with the function that builds its masks.

    Without a mask function of the same name the attention would get no mask at all, and padding would be read.
    """
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, mask)


def supports_attention_interface(llm: PreTrainedModel) -> bool:
    """Return whether the layers of `llm` call the attention implementation by its name."""
    return bool(llm._can_set_attn_implementation())


def attention_implementation(llm: PreTrainedModel) -> str | None:
    """Return the name of the attention implementation that the layers of `llm` call now."""
    name: str | None = llm.config.get_text_config()._attn_implementation
    return name


def cache_argument(llm: PreTrainedModel, cache: DynamicCache | None) -> dict[str, DynamicCache | None]:
    """Return the cache as the keyword argument that this model's forward pass takes."""
    return {_cache_name(type(llm).forward): cache}


@lru_cache
def _cache_name(forward: Callable[..., Any]) -> str:
    """Return the name of the cache's parameter; the old one where a function doesn't say, which new releases still
    take."""
    parameters = inspect.signature(forward).parameters
    return next((name for name in _CACHE_NAMES if name in parameters), _CACHE_NAMES[-1])


def passed_cache(arguments: Mapping[str, Any]) -> DynamicCache | None:
    """Find the cache among the keyword arguments of a forward pass that transformers calls itself, as in `generate`."""
    return next((arguments[name] for name in _CACHE_NAMES if arguments.get(name) is not None), None)


def cached_length(cache: DynamicCache | None) -> int:
    """Return the number of cached tokens."""
    return 0 if cache is None else int(cache.get_seq_length())


def cached_layers(cache: DynamicCache) -> list[Any]:
    """Return the layers with `keys` and `values` [B, g, K, d]. Others share those of a layer below."""
    return [layer for layer in cache.layers if layer.get_seq_length()]


def copy_cache(cache: DynamicCache) -> DynamicCache:
    """Copy a cache without its tensors. Layers grow by concatenation, so the tensors never change."""
    copied = DynamicCache()
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    return copied


def decoder_layers(llm: PreTrainedModel) -> list[nn.Module]:
    """Return the layers whose activations transformers can compute again in the backward pass."""
    return [module for module in llm.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]


def checkpoint_layers(llm: PreTrainedModel) -> None:
    """Compute the activations of the decoder layers again in the backward pass, instead of keeping them."""
    enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def recomputes_layers(llm: PreTrainedModel) -> bool:
    """Return whether `checkpoint_layers` was called: such layers keep no keys and values."""
    return any(getattr(module, "gradient_checkpointing", False) for module in llm.modules())


def llama_rotary_embedding(config: LlamaConfig) -> nn.Module:
    """Make the rotary frequencies of a Llama, which follow from its configuration and are no weights."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    return LlamaRotaryEmbedding(config)  # type: ignore[no-any-return]


def tiktoken_tokenizer(path: Path, special: list[str]) -> Any:
    """Convert a tiktoken file to a `tokenizers.Tokenizer`. special: the tokens behind those of the file, in order.

    Raises ImportError where tiktoken isn't installed, ValueError for a file that it can't read.
    """
    from transformers.convert_slow_tokenizer import TikTokenConverter

    return TikTokenConverter(vocab_file=str(path), extra_special_tokens=special).converted()
