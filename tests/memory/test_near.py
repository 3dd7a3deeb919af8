"""Near duplicates: what is left out has a near row that stays, and hardly any is missed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from topa.core.errors import UsageError
from topa.memory.near import distinct

D = 32


def cone(rows: int, seed: int = 0) -> Tensor:
    """Rows in a narrow cone, as captions of one encoder are: [rows, D]."""
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(rows, D, generator=generator) * 0.15 + torch.eye(D)[0], dim=-1)


def copies(rows: Tensor, times: int, cosine: float, seed: int = 1) -> Tensor:
    """Each row and times - 1 others at this cosine from it, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    others = torch.randn(times - 1, *rows.shape, generator=generator)
    others = functional.normalize(others - (others * rows).sum(-1, keepdim=True) * rows, dim=-1)
    turned = cosine * rows + (1 - cosine**2) ** 0.5 * others
    everything = torch.cat([rows[None], turned]).flatten(0, 1)
    return everything[torch.randperm(len(everything), generator=generator)]


def naive(values: Tensor, near: float) -> list[int]:
    kept: list[int] = []
    for row, value in enumerate(values.float()):
        if not kept or (values[kept].float() @ value).max() < near:
            kept.append(row)
    return kept


def test_few_rows_are_thinned_exactly() -> None:
    values = copies(cone(90), 4, 0.99).half()
    assert distinct(values, 0.95, show=False).tolist() == naive(functional.normalize(values.float(), dim=-1), 0.95)


@pytest.mark.parametrize("near", [0.9, 0.98])
def test_what_is_left_out_is_near_to_what_stays(near: float) -> None:
    values = copies(cone(4000), 3, (1 + near) / 2).half()
    kept = distinct(values, near, show=False)
    assert np.array_equal(kept, np.unique(kept))
    out = np.setdiff1d(np.arange(len(values)), kept)
    nearest = (values[out].float() @ values[kept].float().T).amax(dim=1)
    assert nearest.min() >= near - 1e-3
    assert len(out) > 0
    # And of the rows that stay hardly any has a near one.
    stay = values[kept].float() @ values[kept].float().T
    stay.fill_diagonal_(0)
    assert (stay.amax(dim=1) >= near).float().mean() < 0.05


def test_a_chain_is_not_followed_to_its_end() -> None:
    """Rows of which each is near to the next: for one that is left out a near one stays, not one near to that."""
    angles = torch.arange(3000) * 0.05
    values = torch.zeros(3000, D)
    values[:, 0], values[:, 1] = angles.cos(), angles.sin()
    values = functional.normalize(
        values + 0.02 * torch.randn(3000, D, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    kept = distinct(values, 0.98, show=False)
    nearest = (values @ values[kept].T).amax(dim=1)
    assert nearest.min() >= 0.98 - 1e-3


def test_equal_rows_alone() -> None:
    rows = cone(50)
    values = torch.cat([rows, copies(rows, 2, 0.9999), rows])
    kept = distinct(values, 1, show=False)
    assert kept.tolist() == list(range(50)) + [
        50 + i for i, row in enumerate(copies(rows, 2, 0.9999)) if not (row == rows).all(dim=1).any()
    ]


def test_all_alike_and_one_row() -> None:
    assert distinct(cone(1).expand(5000, D).contiguous(), 0.98, show=False).tolist() == [0]
    assert distinct(copies(cone(1), 5000, 0.9999), 0.98, show=False).tolist() == [0]
    assert distinct(cone(1), 0.98, show=False).tolist() == [0]


def test_the_seed_decides() -> None:
    values = copies(cone(3000), 2, 0.985).half()
    first = distinct(values, 0.98, 3, trees=2, show=False)
    assert np.array_equal(first, distinct(values, 0.98, 3, trees=2, show=False))
    assert not np.array_equal(first, distinct(values, 0.98, 4, trees=2, show=False))


@pytest.mark.parametrize("near", [0, -1, 1.01, float("nan")])
def test_what_is_no_cosine(near: float) -> None:
    with pytest.raises(UsageError, match="--near"):
        distinct(cone(3), near)
