"""The projection against a naive loop, and what must hold for any memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from topa.core.errors import ArtifactMismatch, UsageError
from topa.memory import projection
from topa.memory.projection import project, project_with_rows


def unit(*shape: int, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def naive(frame: Tensor, memory: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    weights = torch.stack([frame.double() @ row.double() for row in memory]).div(temperature).softmax(0)
    mean = sum(weight * row.double() for weight, row in zip(weights, memory, strict=True))
    assert isinstance(mean, Tensor)
    return mean / mean.norm(), weights


@pytest.fixture(params=[65536, 7], ids=["one chunk", "chunks"])
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_CHUNK", request.param)


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_equals_the_naive_loop(dtype: torch.dtype) -> None:
    frames, memory = unit(2, 3, 16), unit(40, 16, seed=1).to(dtype)
    found = project(frames, memory, 0.05)
    values, weights, rows = project_with_rows(frames, memory, 0.05, top_k=9)
    assert found.shape == frames.shape
    assert torch.equal(values, found)
    assert weights.shape == rows.shape == (2, 3, 9)
    for row in range(2):
        for frame in range(3):
            mean, expected = naive(frames[row, frame], memory, 0.05)
            torch.testing.assert_close(found[row, frame].double(), mean, atol=1e-5, rtol=0)
            best = expected.topk(9)
            assert torch.equal(rows[row, frame], best.indices)
            torch.testing.assert_close(weights[row, frame].double(), best.values, atol=1e-5, rtol=0)


def test_half_precision_storage_costs_little() -> None:
    frames, memory = unit(20, 64), unit(500, 64, seed=1)
    assert (project(frames, memory.half()) - project(frames, memory)).abs().max() < 3e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_stored_row_projects_to_itself_as_the_temperature_falls(dtype: torch.dtype) -> None:
    memory = unit(200, 32).to(dtype)
    frames = functional.normalize(memory[:10].float(), dim=-1)
    near = [(project(frames, memory, t) - frames).norm(dim=-1).max().item() for t in (0.3, 0.05, 1e-4)]
    assert near[0] > near[1] > near[2]
    assert near[2] < 1e-3
    _, weights, rows = project_with_rows(frames, memory, 1e-4, top_k=1)
    assert torch.equal(rows[:, 0], torch.arange(10))
    assert weights.min() > 0.99


def test_padding_stays_zero_and_changes_nothing() -> None:
    frames, memory = unit(2, 4, 16), unit(30, 16, seed=1)
    valid = torch.tensor([[True, True, False, False], [True, False, False, False]])
    found = project(frames * valid[..., None], memory, valid=valid)
    assert found[~valid].eq(0).all()
    torch.testing.assert_close(found[valid], project(frames[valid], memory))
    torch.testing.assert_close(found[valid].norm(dim=-1), torch.ones(3))
    # Without the mask a zero frame is the memory's mean, as in the released code.
    mean = functional.normalize(memory.mean(0), dim=-1)
    torch.testing.assert_close(project(torch.zeros(1, 16), memory)[0], mean)


def test_requests_that_make_no_sense_are_refused() -> None:
    for temperature in (0.0, -1.0):
        with pytest.raises(UsageError, match="temperature"):
            project(unit(2, 16), unit(5, 16), temperature)
    for memory in (unit(5, 8), torch.empty(0, 16)):
        with pytest.raises(ArtifactMismatch, match="Encode the video and the memory with the same encoder"):
            project(unit(2, 16), memory)
    assert project_with_rows(unit(2, 16), unit(3, 16), top_k=9).weights.shape == (2, 3)
