"""From the captions of a textual frame to the frame's one feature.

Takes rows of the text tower from `encode`, gives rows of `FrameFeatures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import InputError

Fusion = Literal["mean", "caption"]


def fuse(rows: Tensor, counts: Sequence[int], mode: Fusion = "mean") -> Tensor:
    """Fuse the captions of each frame to one unit row.

    rows: float32 [N, D], the captions of all frames in order, each frame's own caption before its objects'.
    counts: how many rows belong to each of the T frames, at least one each, N in all. Returns float32 [T, D].
    "mean": unit rows, their mean, a unit row again. "caption": the frame's own caption only.
    Source: TOPA (arXiv 2405.13911), textual frames. Raises InputError where counts don't fit the rows.
    """
    sizes = torch.tensor(counts, dtype=torch.int64)
    if sizes.ndim != 1 or (sizes < 1).any() or int(sizes.sum()) != len(rows):
        raise InputError(
            f"fusion: found {len(rows)} rows for frames of {list(counts)[:8]} captions; "
            "expected one row per caption and one or more per frame."
        )
    unit = normalize(rows, dim=-1)
    if mode == "caption":
        return unit[sizes.cumsum(0) - sizes]
    frame_of = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    total = rows.new_zeros(len(sizes), rows.shape[1]).index_add_(0, frame_of, unit)
    return normalize(total, dim=-1)
