"""Tree attention: several continuations of one text, side by side in one pass, none of which sees another.

Source: SpecInfer (arXiv 2305.09781).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .inputs import Embeddings


def branch_out(shared: Embeddings, branches: Tensor, branch_mask: Tensor, cached: Tensor | None) -> Embeddings:
    """Put N branches of L tokens behind what each row shares.

    shared: of S tokens. branches: [B, N * L, H], their embeddings beside each other; branch_mask: bool [B, N, L], False
    for padding. cached: bool [B, K], which cached tokens are visible; None without a cache.
    Returns S + N * L tokens: each reads the cache, what is shared, and its own branch up to itself; positions go on
    from what is shared.
    """
    batch, count, length = branch_mask.shape
    device, size = branches.device, shared.visible.shape[1]
    before = torch.zeros(batch, 1, dtype=torch.int64, device=device)
    if cached is not None:
        before = cached.sum(dim=1, keepdim=True)
    own = (before + shared.visible.cumsum(dim=1) - 1).clamp(min=0)
    first = before + shared.visible.sum(dim=1, keepdim=True)
    further = (first[..., None] + torch.arange(length, device=device)).expand(batch, count, length)
    branch = torch.arange(count, device=device).repeat_interleave(length)
    branch = torch.cat([branch.new_full((size,), -1), branch])  # -1 for what is shared
    order = torch.arange(len(branch), device=device)
    mask = ((branch == branch[:, None]) | (branch == -1)) & (order <= order[:, None])
    mask = mask.expand(batch, 1, -1, -1)
    if cached is not None:
        mask = torch.cat([cached[:, None, None].expand(-1, 1, len(branch), -1), mask], dim=-1)
    return Embeddings(
        torch.cat([shared.values, branches], dim=1),
        pad(shared.is_video, (0, count * length)),
        torch.cat([shared.visible, branch_mask.flatten(1)], dim=1),
        pad(shared.is_slot, (0, count * length)),
        mask,
        torch.cat([own, further.flatten(1)], dim=1),
    )
