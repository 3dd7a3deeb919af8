"""The loss of a step: PyTorch's numbers in less memory."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from topa.training.loss import mean_nll


@pytest.mark.parametrize("tokens", [1, 64, 150])
def test_value_and_gradient_are_those_of_cross_entropy(tokens: int) -> None:
    draws = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, 16, generator=draws, requires_grad=True)
    head = torch.randn(16, 333, generator=draws) * 3
    targets = torch.randint(333, (tokens,), generator=draws)
    found = mean_nll(hidden @ head, targets)
    (3 * found).backward()
    ours, hidden.grad = hidden.grad, None
    expected = F.cross_entropy(hidden @ head, targets)
    (3 * expected).backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours, hidden.grad, rtol=2e-5, atol=1e-4)


def test_without_gradients_the_logits_stay() -> None:
    logits = torch.randn(5, 7)
    before = logits.clone()
    assert mean_nll(logits, torch.arange(5)) == F.cross_entropy(before, torch.arange(5))
    assert torch.equal(logits, before)


def test_a_second_reader_of_the_logits_is_told() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    logits = (hidden @ torch.randn(4, 7)).exp()  # keeps what it gave, for its own gradient
    loss = mean_nll(logits, torch.arange(5))
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()


def test_it_takes_little_more_than_the_logits() -> None:
    """Counted by PyTorch's own profiler: bytes that are allocated inside."""
    hidden = torch.randn(512, 8, requires_grad=True)
    logits = hidden @ torch.randn(8, 4000)
    with torch.profiler.profile(profile_memory=True) as profile:
        mean_nll(logits, torch.zeros(512, dtype=torch.int64)).backward()
    taken = max(event.cpu_memory_usage for event in profile.events())
    assert taken < logits.nbytes / 4
