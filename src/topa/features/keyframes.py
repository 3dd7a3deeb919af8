"""Keyframes: the few frames of a video that stand for all of them.

Reads features of many frames in order of time, gives the numbers of those that a model with few frame slots reads.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from ..core.errors import UsageError

_EVEN = 1e-6  # what unequal lengths cost, beside a variance of order 1: it decides where nothing else does


def select_keyframes(values: Tensor, count: int) -> list[int]:
    """Select `count` frames, all of them where there are no more, and return their numbers, ascending.

    values: float [N, D] unit rows in order of time. Each frame is the nearest to the mean of its segment (see
    `change_point_segments`), so that a short scene has a frame of its own, and a cross-fade has none. Raises as
    `change_point_segments` does.
    """
    keyframes = []
    for start, end in change_point_segments(values, count):
        rows = normalize(values[start:end].double(), dim=-1)
        off_centre = (torch.arange(len(rows)) - (len(rows) - 1) // 2).abs()
        keyframes.append(start + int((rows @ rows.sum(dim=0) - _EVEN * off_centre).argmax()))
    return keyframes


def change_point_segments(values: Tensor, count: int) -> list[tuple[int, int]]:
    """Cut a video at its changes into `count` segments that vary least inside.

    values: float [N, D] unit rows in order of time. Returns each segment's first frame, and the one behind its last; a
    segment per frame where there are no more than `count`. The sum of squared distances to the segments' means is the
    least there is, by dynamic programming; where nothing changes, they are equally long. Time and memory grow with N^2.
    Raises UsageError for a count below 1.

    Not in the paper, which samples evenly (docs/log.md has the comparison).
    """
    if count < 1:
        raise UsageError(f"keyframes: found count={count}; expected 1 or more. Ask for more frames.")
    total = len(values)
    if total <= count:
        return [(at, at + 1) for at in range(total)]
    rows = normalize(values.double(), dim=-1)
    sums = pad(rows.cumsum(dim=0), (0, 0, 1, 0))
    products = sums @ sums.T
    squares = products.diagonal()
    place = torch.arange(total + 1)
    length = place - place[:, None]  # of the segment from row's frame to before column's
    # Of unit rows, what isn't in the mean is variation.
    shared = (squares + squares[:, None] - 2 * products) / length.clamp(min=1)
    cost = length - shared + _EVEN * length.square() / total
    cost = cost.masked_fill(length < 1, torch.inf)
    best, ways = cost[0], []
    for _ in range(count - 1):
        best, way = (best[:, None] + cost).min(dim=0)
        ways.append(way)
    bounds = [total]
    for way in reversed(ways):
        bounds.append(int(way[bounds[-1]]))
    bounds.append(0)
    return list(pairwise(reversed(bounds)))
