"""transformers' own `generate` on a model that reads videos: sampling, beam search, and whatever else it offers.

For plain greedy answers `VideoLanguageModel.greedy` does the same with less around it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .attention import Call, verify, verify_reached
from .compat import cached_length, passed_cache
from .topa_model import VideoLanguageModel


@torch.no_grad()
def generate(
    model: VideoLanguageModel,
    input_ids: Tensor,
    *,
    frames: Tensor | None = None,
    frame_valid: Tensor | None = None,
    is_slot: Tensor | None = None,
    attention_mask: Tensor | None = None,
    **options: Any,
) -> Any:
    """The new tokens, int64 [B * num_return_sequences, N], or what `return_dict_in_generate` asks for.

    Arguments as for `VideoLanguageModel.forward`, attention_mask [B, S] with padding on either side; options: those of
    `transformers.GenerationMixin.generate`. Raises UsageError as `forward` does.
    """
    verify(model.llm)
    embeds, is_video, visible = model.embed(input_ids, frames, frame_valid, is_slot, attention_mask)
    # generate() goes on from the last column: whatever isn't read moves to the left, the rest keeps its order.
    order = visible.int().argsort(dim=1, stable=True)
    embeds = embeds.gather(1, order[..., None].expand_as(embeds))
    is_video, visible = is_video.gather(1, order), visible.gather(1, order)
    slots = torch.zeros_like(visible) if is_slot is None else is_slot.gather(1, order)
    after_video = (is_video.cumsum(dim=1) > 0) & ~slots
    has_video = bool(is_video.any())

    def hand_down(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Every forward pass of generate() gets its Call: rows may have become several, and the first pass is long."""
        given = kwargs.get("inputs_embeds")
        given = kwargs["input_ids"] if given is None else given
        times = given.shape[0] // len(is_video)
        call = Call(model.adapted_layers, states=model.prompt_states())
        if has_video:
            first = cached_length(passed_cache(kwargs))
            new = first + given.shape[1] - is_video.shape[1]  # tokens generated so far
            call.is_video = functional.pad(is_video, (0, new)).repeat_interleave(times, dim=0)
            behind = torch.cat([after_video, is_video.any(dim=1, keepdim=True).expand(-1, new)], dim=1)
            call.after_video = behind[:, first:].repeat_interleave(times, dim=0)
        calls.append(call)
        return args, {**kwargs, "video_adapter": call}

    calls: list[Call] = []
    handle = model.llm.register_forward_pre_hook(hand_down, with_kwargs=True)
    try:
        found = model.llm.generate(inputs_embeds=embeds, attention_mask=visible.long(), **options)
    finally:
        handle.remove()
    for call in calls:
        verify_reached(model.llm, call)
    return found
