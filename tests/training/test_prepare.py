"""How a frozen language model is kept and run: half precision, compiled layers."""

from __future__ import annotations

import pytest
import torch

from models.tiny import model as tiny_model
from topa.core.errors import UsageError
from topa.core.processes import Processes
from topa.training.data import Mix, epoch_batches
from topa.training.optimiser import parameter_groups
from topa.training.prepare import dtype_for, prepare
from topa.training.reading import compute_loss
from topa.training.validation import validate

from .small import config, prompter, samples


def batch():
    return next(epoch_batches(samples(6), prompter(), Mix(1, 0, 0), batch_size=6, seed=0, epoch=0))


def test_half_precision_is_for_gpus():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert dtype_for(config(), cpu) == dtype_for(config(precision="float32"), gpu) == torch.float32
    assert dtype_for(config(), gpu) == dtype_for(config(precision="bfloat16"), gpu) == torch.bfloat16
    with pytest.raises(UsageError, match=r"precision 'bfloat16': found a CPU.*--set precision=float32"):
        dtype_for(config(precision="bfloat16"), cpu)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_model_in_bfloat16_trains_an_adapter_in_float32(checkpointing):
    """As on a GPU: the loss is that of float32 but for rounding, and steps are taken in float32."""
    whole, half = tiny_model(), tiny_model()
    half.llm.to(torch.bfloat16)
    prepare(half, config(checkpointing=checkpointing), Processes())
    expected, found = compute_loss(whole, batch()), compute_loss(half, batch())
    assert found.item() == pytest.approx(expected.item(), rel=0.05)
    found.backward()
    parameters = half.named_trainable()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in parameters.values())
    assert all(p.grad.isfinite().all() and p.grad.any() for p in parameters.values())
    torch.optim.AdamW(parameter_groups(half, config()), lr=1e-2).step()
    assert compute_loss(half, batch()).item() < found.item()
    assert validate(half, prompter(), samples(4), config()).loss > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_layers_give_the_same():
    """Loss, gradients and validation, which runs as it was written."""
    plain, compiled = tiny_model(), tiny_model()
    prepare(compiled, config(compiled=True), Processes())
    losses = [compute_loss(made, batch()) for made in (plain, compiled)]
    torch.testing.assert_close(losses[1], losses[0], atol=1e-5, rtol=1e-5)
    for loss in losses:
        loss.backward()
    gradients = [{name: p.grad for name, p in made.named_trainable().items()} for made in (plain, compiled)]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-3)
    found = [validate(made, prompter(), samples(6), config()) for made in (plain, compiled)]
    assert found[1].accuracy == found[0].accuracy
