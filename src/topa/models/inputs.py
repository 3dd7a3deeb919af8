"""What a video language model reads: token ids with frames in their slots, and the same as embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """A batch of prompts with their videos.

    input_ids: int64 [B, S]; the ids in slots are looked up and then replaced, so any valid id will do.
    frames: float [B, T, D] unit rows, text space. frame_valid: bool [B, T]; a frame that isn't valid is masked
    and takes no position. is_slot: bool [B, S], where the frames go, in order: k slots per frame; a row may have
    fewer slots where its last frames aren't valid. attention_mask: bool or 0/1 [B, S], False for padding on
    either side, or bool [B, 1, S, K + S] over K cached tokens, which token may read which, for rows that aren't one
    text from left to right: then position_ids are needed, and sliding windows count by them.
    position_ids: int64 [B, S], by default a count of the visible tokens.
    """

    input_ids: Tensor
    frames: Tensor | None = None
    frame_valid: Tensor | None = None
    is_slot: Tensor | None = None
    attention_mask: Tensor | None = None
    position_ids: Tensor | None = None

    def last_tokens(self) -> tuple[Tensor, Tensor]:
        """Return rows, and the column of each row's last token that isn't padding: int64 [B] each."""
        mask = torch.ones_like(self.input_ids) if self.attention_mask is None else self.attention_mask
        column = torch.arange(mask.shape[1], device=mask.device)
        return torch.arange(len(mask), device=mask.device), torch.where(mask.bool(), column, -1).amax(dim=1)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What the layers get: values [B, S, H] with frames in their slots; is_video, visible and is_slot: bool [B, S].

    mask: bool [B, 1, S, K + S], which token may read which; None where rows are texts from left to right.
    position_ids: int64 [B, S]; None to count the visible tokens.
    """

    values: Tensor
    is_video: Tensor
    visible: Tensor
    is_slot: Tensor
    mask: Tensor | None = None
    position_ids: Tensor | None = None
