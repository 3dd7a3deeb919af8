"""Cross-entropy that keeps one matrix of logits instead of three.

The logits of a step are its largest tensor: labelled tokens times vocabulary. PyTorch's function keeps their
log-softmax beside them and makes a gradient of the same size; here the logits become their gradient where they lie.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_ROWS = 64  # tokens at a time: what is needed beside the logits is of this size


def mean_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean negative log-likelihood of targets int64 [N] under logits float32 [N, V], a scalar.

    Equal to `cross_entropy`. While gradients are recorded the logits are used up: nothing else may read them
    afterwards, which autograd watches over.
    """
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return F.cross_entropy(logits, targets)
    loss: Tensor = _MeanNLL.apply(logits, targets)  # type: ignore[no-untyped-call]
    return loss


class _MeanNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        gradient = logits.detach()  # the same memory; autograd sees the change
        total = logits.new_zeros(())
        for rows, right in zip(torch.split(gradient, _ROWS), torch.split(targets[:, None], _ROWS), strict=True):
            norm = rows.logsumexp(dim=-1, keepdim=True)
            total += (norm - rows.gather(1, right)).sum()
            rows.sub_(norm).exp_()
            rows.scatter_add_(1, right, rows.new_full(right.shape, -1.0))
        ctx.gradient = gradient.div_(len(targets))
        return total / len(targets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        gradient: Tensor = ctx.gradient
        del ctx.gradient
        return gradient.mul_(above), None
