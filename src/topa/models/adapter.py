"""The trainable part of one attention layer: gated prompts and the video bias.

Reads a layer's queries and its projections of the prompt, writes what `models.attention` adds to the layer's output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedPrompts(nn.Module):
    """Learned prompt, gate and video bias of one layer; `width`, `heads` and `length` are H, h and P.

    `prompt`: [P, H], normal with deviation `std` at first. `gate`: [h], 0 at first, so that an untrained adapter adds
    nothing. `video_bias`: [h], `-bias` at first, added to the scaled scores of text that reads frames.

    Source: LLaMA-Adapter (arXiv 2303.16199) as used by TOPA (arXiv 2405.13911) and its released code, whose `gate1`
    and `gate2` are `gate` and `video_bias`.
    """

    def __init__(self, width: int, heads: int, length: int = 50, bias: float = 3.5, std: float = 1.0) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.randn(length, width) * std)
        self.gate = nn.Parameter(torch.zeros(heads))
        self.video_bias = nn.Parameter(torch.full((heads,), -float(bias)))

    def forward(
        self, query: Tensor, keys: Tensor, values: Tensor, scaling: float, softcap: float | None = None
    ) -> Tensor:
        """Attend to the prompt: a softmax over the P prompt scores alone, times tanh(gate).

        query: [B, h, Q, d], any float type. keys, values: [g, P, d], the layer's own projections of the prompt,
        without rotary; key head j serves the query heads j*h/g and the h/g - 1 behind it. `scaling` and `softcap`
        are the layer's. Returns [B, Q, h, d], the query's type.
        """
        batch, heads, length, dim = query.shape
        groups = keys.shape[0]
        # One product per key head over all rows of the batch: few large products instead of B*h small ones.
        rows = query.reshape(batch, groups, -1, dim).transpose(0, 1).reshape(groups, -1, dim)
        scores = rows @ keys.transpose(1, 2) * scaling
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        read = functional.softmax(scores, dim=-1, dtype=torch.float32).to(values) @ values
        read = read.view(groups, batch, heads // groups, length, dim).permute(1, 3, 0, 2, 4)
        return read.reshape(batch, length, heads, dim) * torch.tanh(self.gate).to(query)[:, None]
