"""The modality gap on clouds whose gap is known in closed form."""

from __future__ import annotations

import math
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from topa.core.errors import ArtifactMismatch, InputError

GAP = Path(__file__).parents[2] / "perf" / "gap.py"
spec = spec_from_file_location("gap", GAP)
assert spec is not None
assert spec.loader is not None
sys.modules["gap"] = gap = module_from_spec(spec)
spec.loader.exec_module(gap)
modality_gap = gap.modality_gap


def cloud(rows: int = 400, width: int = 6, seed: int = 0) -> Tensor:
    """Gaussian with correlated columns and a mean of its own."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return drawn @ torch.randn(width, width, generator=generator, dtype=torch.float64) + 3


def rotation(width: int, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q


def test_equal_clouds_have_none() -> None:
    text = cloud()
    found = modality_gap(text, text.flip(0))
    assert found.centroid == pytest.approx(0, abs=1e-20)
    assert found.distribution == pytest.approx(0, abs=1e-11)


def test_a_shift_is_the_centroid_part_alone() -> None:
    text, shift = cloud(), torch.tensor([1.0, -2, 0, 0.5, 0, 0], dtype=torch.float64)
    found = modality_gap(text, text + shift)
    assert found.centroid == pytest.approx(5.25)
    assert found.distribution == pytest.approx(0, abs=1e-11)
    assert found.distance == pytest.approx(math.sqrt(5.25))
    assert found.total == found.centroid + found.distribution


def test_scaling_about_the_mean_is_the_distribution_part_alone() -> None:
    text = cloud()
    mean = text.mean(0)
    spread = float((text - mean).square().sum(1).mean())
    found = modality_gap(text, mean + 3 * (text - mean))
    assert found.centroid == pytest.approx(0, abs=1e-20)
    assert found.distribution == pytest.approx((3 - 1) ** 2 * spread)


def test_covariances_that_commute() -> None:
    """Along common axes it is the sum of squared differences of the deviations."""
    axes, a, b = rotation(4), torch.tensor([4.0, 1, 0.25, 0]).double(), torch.tensor([1.0, 1, 9, 0]).double()
    base = cloud(width=4)
    base = base - base.mean(0)
    white = base @ torch.linalg.inv(torch.linalg.cholesky(base.T @ base / len(base))).T
    found = modality_gap(white * a.sqrt() @ axes.T, white * b.sqrt() @ axes.T)
    assert found.distribution == pytest.approx(float((a.sqrt() - b.sqrt()).square().sum()))


def test_turned_clouds_match_the_law_as_it_is_written() -> None:
    text, image = cloud(), cloud(300, seed=1)

    def root(matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eig(matrix)
        return (vectors * values.sqrt() @ torch.linalg.inv(vectors)).real

    a, b = (torch.cov(x.T, correction=0) for x in (text, image))
    expected = torch.trace(a + b - 2 * root(root(a) @ b @ root(a)))
    found, other = modality_gap(text, image), modality_gap(image, text)
    assert found.distribution == pytest.approx(float(expected))
    assert found.centroid == pytest.approx(float((text.mean(0) - image.mean(0)).square().sum()))
    assert (other.centroid, other.distribution) == pytest.approx((found.centroid, found.distribution))


def test_chunks_and_half_precision_change_nothing_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    text, image = (functional.normalize(cloud(seed=s), dim=-1).half() for s in (0, 1))
    whole = modality_gap(text, image)
    assert whole.distribution > 1e-3
    monkeypatch.setattr(gap, "_CHUNK", 7)
    parts = modality_gap(text, image)
    assert (parts.centroid, parts.distribution) == pytest.approx((whole.centroid, whole.distribution))
    assert whole.total == pytest.approx(modality_gap(text.double(), image.double()).total)


def test_fewer_rows_than_columns() -> None:
    text = cloud(3)
    assert modality_gap(text, text).total == pytest.approx(0, abs=1e-11)
    one = modality_gap(text[:1], text[1:2])
    assert one.distribution == pytest.approx(0, abs=1e-11)
    assert one.centroid == pytest.approx(float((text[0] - text[1]).square().sum()))


def test_clouds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ArtifactMismatch, match="6 wide and image features 4 wide"):
        modality_gap(cloud(), cloud(width=4))
    for bad in (cloud()[:0], cloud()[0]):
        with pytest.raises(InputError, match="image features"):
            modality_gap(cloud(), bad)
    broken = cloud()
    broken[3, 2] = torch.nan
    with pytest.raises(InputError, match="finite"):
        modality_gap(broken, cloud())
