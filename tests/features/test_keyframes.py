"""Frames that stand for a video: against every way to cut it, and on videos whose scenes are known."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from topa.core.errors import UsageError
from topa.features.keyframes import change_point_segments, select_keyframes


def scenes(*lengths: int, jitter: float = 0.0) -> Tensor:
    """Unit rows: each scene another direction, its frames near to each other."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(len(lengths), 16, generator=generator)
    rows = torch.cat([mean.expand(length, -1) for mean, length in zip(means, lengths, strict=True)])
    return normalize(rows + jitter * torch.randn(rows.shape, generator=generator), dim=-1)


def brute(values: Tensor, count: int) -> list[int]:
    """The least of all ways to cut, and in each stretch the row nearest to the mean."""

    def parts(inner: tuple[int, ...]) -> list[tuple[int, int]]:
        return list(itertools.pairwise((0, *inner, len(values))))

    def variation(inner: tuple[int, ...]) -> float:
        return sum(float((values[a:b] - values[a:b].mean(0)).square().sum()) for a, b in parts(inner))

    least = min(itertools.combinations(range(1, len(values)), count - 1), key=variation)

    def away(at: int, a: int, b: int) -> float:
        return round(float((values[at] - values[a:b].mean(0)).square().sum()), 9)

    return [min(range(a, b), key=lambda at: away(at, a, b)) for a, b in parts(least)]


@pytest.mark.parametrize("count", [1, 2, 4, 9])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_way_to_cut_is_better(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = normalize(torch.randn(9, 5, generator=generator, dtype=torch.float64).cumsum(0), dim=-1)
    assert select_keyframes(values, count) == brute(values, count)


def test_a_short_scene_has_a_frame_of_its_own() -> None:
    chosen = select_keyframes(scenes(9, 1, 6, 1, 13, jitter=0.02), 5)
    ends = torch.tensor([9, 10, 16, 17, 30])
    assert torch.bucketize(torch.tensor(chosen), ends, right=True).tolist() == [0, 1, 2, 3, 4]


def test_a_cross_fade_stands_for_nothing() -> None:
    values = scenes(6, 6)
    fade = normalize(values[:1] + values[-1:], dim=-1)
    chosen = select_keyframes(torch.cat([values[:6], fade, values[6:]]), 2)
    assert chosen[0] < 6 < chosen[1]


def test_where_nothing_changes_frames_are_evenly_spread() -> None:
    assert change_point_segments(scenes(12), 3) == [(0, 4), (4, 8), (8, 12)]
    assert select_keyframes(scenes(20), 5) == [1, 5, 9, 13, 17]
    assert select_keyframes(scenes(9), 3) == [1, 4, 7]
    assert select_keyframes(scenes(400), 4) == [49, 149, 249, 349]


def test_few_frames_are_all_taken() -> None:
    assert select_keyframes(scenes(3), 5) == [0, 1, 2]
    assert select_keyframes(scenes(2, 3), 5) == [0, 1, 2, 3, 4]
    assert select_keyframes(torch.empty(0, 16), 5) == []
    with pytest.raises(UsageError, match="count=0"):
        select_keyframes(scenes(3), 0)
