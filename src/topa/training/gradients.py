"""The gradients of a step, added up over the processes of a run in one go.

The adapter is small, so every process holds all of it; all of them then take the same step. Used by `training.loop`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..core.processes import Processes


class Gradients:
    """The gradients of all parameters as one tensor, with room for a few numbers that are added up beside them.

    While it lives, gradients are accumulated in its memory: they must not be set to None.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], more: int) -> None:
        owned = list(parameters)
        sizes = [p.numel() for p in owned]
        self._all = torch.zeros(sum(sizes) + more, dtype=torch.float32, device=owned[0].device)
        self.values, self.beside = torch.split(self._all, [sum(sizes), more])
        for parameter, part in zip(owned, torch.split(self.values, sizes), strict=True):
            parameter.grad = part.view_as(parameter)

    def clear(self) -> None:
        """Set all of them to zero."""
        self._all.zero_()

    def add_up(self, processes: Processes) -> None:
        """Sum them over all processes."""
        processes.add_up(self._all)

    def clip(self, max_norm: float) -> float:
        """Scale them down to a norm of `max_norm`, unless that is 0; return the norm that they had."""
        norm = torch.linalg.vector_norm(self.values)
        if max_norm:
            self.values.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return float(norm)
