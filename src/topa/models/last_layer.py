"""In the last layer only the positions whose logits are wanted need more than keys and values.

Hooks around those of its parts that treat every position alone, whatever the family: they compute the wanted ones and
leave zeros elsewhere, which nobody reads. Put in place by `models.attention`.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_PARTS = ("q_proj", "o_proj", "out_proj", "dense")
_state = threading.local()


def narrow_last_layer(llm: PreTrainedModel) -> None:
    """Put the hooks into the last decoder layer of `llm`. Without wanted positions they do nothing."""
    last = llm.config.get_text_config().num_hidden_layers - 1
    for name, attention in llm.base_model.named_modules():
        if "Attention" not in type(attention).__name__ or getattr(attention, "layer_idx", None) != last:
            continue
        layer = llm.base_model.get_submodule(name.rpartition(".")[0])
        # On the attention, which every pass enters first, also one that is recomputed for its gradients.
        attention.register_forward_pre_hook(_enter, with_kwargs=True)
        candidates = [getattr(attention, part, None) for part in _PARTS]
        # A plain MLP; experts would count the positions they are given.
        candidates += [part for part in layer.children() if type(part).__name__.endswith("MLP")]
        parts = [part for part in candidates if isinstance(part, nn.Module)]
        for part in parts:
            part.register_forward_pre_hook(_take)
            part.register_forward_hook(_put_back)
        parts[-1].register_forward_hook(_forget)
        return


def _enter(attention: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
    call = kwargs.get("video_adapter")
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    positions = None if call is None else call.positions
    # Picking most of the positions costs more than it saves.
    if positions is not None and 2 * len(positions[0]) > hidden.shape[0] * hidden.shape[1]:
        positions = None
    _state.positions, _state.shape = positions, hidden.shape[:2]


def _take(part: nn.Module, args: tuple[Tensor, ...]) -> Any:
    positions = getattr(_state, "positions", None)
    return None if positions is None else (args[0][positions][None], *args[1:])


def _put_back(part: nn.Module, args: Any, output: Tensor) -> Tensor | None:
    positions = getattr(_state, "positions", None)
    if positions is None:
        return None
    whole = torch.zeros(*_state.shape, output.shape[-1], dtype=output.dtype, device=output.device)
    return whole.index_put(positions, output[0])


def _forget(part: nn.Module, args: Any, output: Tensor) -> None:
    """Forget the positions after the last part, so that a part called alone computes everything."""
    _state.positions = None
