"""What is said of a memory is so, by counting it the slow way."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from topa.memory.bank import MemoryBank
from topa.memory.inspection import inspect

from .test_near import cone, copies


def test_small_memories_are_counted_exactly() -> None:
    values = torch.cat([cone(40), copies(cone(40, seed=5), 3, 0.99)])
    captions = [f"caption {n % 7} of {'many ' * (n % 3)}words" for n in range(len(values))]
    found = inspect(MemoryBank(values, "clip", captions), show=False)
    cosines = values @ values.T
    own = torch.eye(len(values), dtype=torch.bool)
    for limit in (0.9999, 0.98, 0.95):
        expected = ((cosines >= limit) & ~own).any(dim=1).double().mean()
        assert found.near[str(limit)] == pytest.approx(expected)
    assert found.distinct_rows == round(float((1 / (cosines >= 0.98).sum(dim=1).double()).sum()))
    assert found.cosine == pytest.approx(float(cosines[~own].mean()), abs=1e-5)
    assert (found.rows, found.width, found.encoder, found.bad_rows) == (160, 32, "clip", 0)
    assert found.bytes == 160 * 32 * 4
    assert found.words == (4, 5, 6)
    assert found.distinct_captions == 21 / 160
    best = cosines.masked_fill(own, -1).max(dim=1)
    for pair in found.examples:
        rows = [n for n, caption in enumerate(captions) if caption == pair.caption]
        assert any(best.values[row].item() == pytest.approx(pair.cosine, abs=1e-5) for row in rows)
    assert [pair.cosine for pair in found.examples] == sorted((p.cosine for p in found.examples), reverse=True)


def test_a_sample_of_a_large_memory_is_near_to_the_truth() -> None:
    distinct = cone(3000, seed=2)
    values = torch.cat([distinct, distinct[:1500]]).half()
    found = inspect(MemoryBank(values, "clip"), show=False)
    assert found.distinct_rows == pytest.approx(3000, rel=0.05)
    assert found.near["0.9999"] == pytest.approx(2 / 3, abs=0.1)
    assert (found.words, found.distinct_captions, found.examples) == (None, None, ())
    assert found == inspect(MemoryBank(values, "clip"), show=False)


def test_dimensions() -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.zeros(2000, 32)
    flat[:, :4] = torch.randn(2000, 4, generator=generator)
    assert inspect(MemoryBank(functional.normalize(flat, dim=-1), "clip"), show=False).dimensions == pytest.approx(
        4, 0.05
    )


def test_one_row_and_damaged_rows() -> None:
    found = inspect(MemoryBank(cone(1), "clip", ("alone",)), show=False)
    assert (found.rows, found.distinct_rows, found.dimensions, found.examples) == (1, 1, 0, ())
    values = cone(50)
    values[3], values[7] = float("nan"), 0
    assert inspect(MemoryBank(values, "clip", ["x"] * 50), show=False).bad_rows == 2
