"""Fusion equals the paper's sentence, written as a loop."""

from __future__ import annotations

import pytest
import torch

from topa.core.errors import InputError
from topa.features.fusion import fuse

COUNTS = [1, 3, 2, 5]


def test_mean_equals_the_naive_loop():
    rows = torch.randn(11, 6, generator=torch.Generator().manual_seed(0)) * 5
    expected, start = [], 0
    for count in COUNTS:
        own = [row / row.norm() for row in rows[start : start + count]]
        mean = sum(own) / count
        expected.append(mean / mean.norm())
        start += count
    assert torch.allclose(fuse(rows, COUNTS), torch.stack(expected), atol=1e-6)


def test_caption_takes_the_first_row_of_each_frame():
    rows = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))
    expected = rows[[0, 1, 4, 6]]
    assert torch.allclose(fuse(rows, COUNTS, "caption"), expected / expected.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("counts", [[5], [12], [11, 0], [12, -1], []])
def test_counts_that_do_not_fit(counts):
    with pytest.raises(InputError, match="found 11 rows"):
        fuse(torch.ones(11, 2), counts)
