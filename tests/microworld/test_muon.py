"""Muon: the update is close to orthogonal, and it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from topa.microworld.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (32, 32)])
def test_updates_are_nearly_orthonormal(shape: tuple[int, int]) -> None:
    """Five quintic steps bring singular values near one; the polar factor of an SVD is what they approach."""
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 37
    result = orthogonal(matrix)
    assert result.shape == shape
    u, _, right = torch.linalg.svd(matrix, full_matrices=False)
    if shape[0] != shape[1]:  # a square Gaussian matrix has singular values too small for five steps
        assert torch.linalg.svdvals(result).min() > 0.6
    assert torch.linalg.svdvals(result).max() < 1.3
    assert torch.nn.functional.cosine_similarity(result.flatten(), (u @ right).flatten(), dim=0) > 0.95


def test_a_zero_gradient_gives_a_zero_update() -> None:
    assert orthogonal(torch.zeros(4, 8)).eq(0).all()


def test_it_learns_and_leaves_parameters_without_gradient_alone() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(64, 8), torch.randn(8, 4)
    layer, idle = nn.Linear(8, 4, bias=False), nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([layer.weight, idle], lr=0.02)
    losses = []
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
        optimizer.zero_grad()
        loss = (layer(x) - x @ target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]
    assert idle.eq(1).all()


def test_decay_shrinks_weights_apart_from_the_update() -> None:
    pair = [nn.Parameter(torch.full((2, 4), 3.0)) for _ in range(2)]
    for parameter, decay in zip(pair, (0.0, 0.5), strict=True):
        parameter.grad = torch.ones(2, 4)
        Muon([parameter], lr=0.1, weight_decay=decay).step()
    torch.testing.assert_close(pair[0] - pair[1], torch.full((2, 4), 3.0 * 0.1 * 0.5))
