"""transformers' own `generate` on a model that reads videos: sampling, beam search, and whatever else it offers.

For plain greedy answers `VideoLanguageModel.greedy` does the same with less around it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from .attention import AdapterCall, verify, verify_reached
from .compat import cached_length, passed_cache
from .inputs import ModelInputs
from .topa_model import VideoLanguageModel


@torch.no_grad()
def generate(model: VideoLanguageModel, inputs: ModelInputs, **options: Any) -> Any:
    """Generate with transformers; return the new tokens, int64 [B * num_return_sequences, N], or what
    `return_dict_in_generate` asks for.

    inputs: with a mask [B, S], padding on either side. options: those of
    `transformers.GenerationMixin.generate`. Raises UsageError as `forward` does.
    """
    verify(model.llm)
    embedded = model.embed(inputs)
    # generate() goes on from the last column: whatever isn't read moves to the left, the rest keeps its order.
    order = embedded.visible.int().argsort(dim=1, stable=True)
    embeds = embedded.values.gather(1, order[..., None].expand_as(embedded.values))
    is_video, visible, is_slot = (
        flags.gather(1, order) for flags in (embedded.is_video, embedded.visible, embedded.is_slot)
    )
    after_video = (is_video.cumsum(dim=1) > 0) & ~is_slot
    has_video = bool(is_video.any())

    def hand_down(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Give every forward pass of generate() its call: rows may have become several, and the first pass is long."""
        read = kwargs.get("inputs_embeds")
        read = kwargs["input_ids"] if read is None else read
        times = read.shape[0] // len(is_video)
        call = AdapterCall(model.adapted_layers, states=model.prompt_states())
        if has_video:
            first = cached_length(passed_cache(kwargs))
            new = first + read.shape[1] - is_video.shape[1]  # tokens generated so far
            call.is_video = functional.pad(is_video, (0, new)).repeat_interleave(times, dim=0)
            behind = torch.cat([after_video, is_video.any(dim=1, keepdim=True).expand(-1, new)], dim=1)
            call.after_video = behind[:, first:].repeat_interleave(times, dim=0)
        calls.append(call)
        return args, {**kwargs, "video_adapter": call}

    calls: list[AdapterCall] = []
    handle = model.llm.register_forward_pre_hook(hand_down, with_kwargs=True)
    try:
        generated = model.llm.generate(inputs_embeds=embeds, attention_mask=visible.long(), **options)
    finally:
        handle.remove()
    for call in calls:
        verify_reached(model.llm, call)
    return generated
