"""How fast this machine is now, measured in a second: what an estimate before long work is made of.

What else the machine does slows the measurement as it will slow the work, so a busy machine gives a longer estimate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_PRIOR = 0.1
"""Share of the work after which what was measured on the way counts as much as the calibration."""
_BATCH, _HEADS, _TOKENS, _WIDTH, _INNER = 32, 4, 64, 128, 384  # a layer of the micro language model in training


def seconds_per_pass(budget: float = 1.0) -> float:
    """Measure one pass, forward and backward, through a layer of the micro language model's size.

    budget: seconds that the measurement may take.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = {"inward": (_WIDTH, _INNER), "outward": (_INNER, _WIDTH), "queries": (_WIDTH, 3 * _WIDTH)}
    weights = {name: torch.randn(shape, generator=generator) / 16 for name, shape in shapes.items()}
    rows = torch.randn(_BATCH, _TOKENS, _WIDTH, generator=generator, requires_grad=True)
    _layer(rows, weights).backward()  # type: ignore[no-untyped-call]  # the first pass pays for threads and memory
    passes, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < budget or not passes:
        _layer(rows, weights).backward()  # type: ignore[no-untyped-call]
        passes += 1
    return spent / passes


def _layer(rows: Tensor, weights: dict[str, Tensor]) -> Tensor:
    normed = F.layer_norm(rows, (_WIDTH,))
    queries, keys, values = (normed @ weights["queries"]).view(_BATCH, _TOKENS, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2)
    fed = F.silu(normed @ weights["inward"]) @ weights["outward"]
    return (rows + attended.reshape(rows.shape) + fed).square().mean()


def operations_per_second(width: int, device: torch.device, dtype: torch.dtype, budget: float = 1.0) -> float:
    """Measure matrix products of a language model's width: floating-point operations a second on this device."""
    square = torch.randn(width, width, device=device).to(dtype)
    rows = torch.randn(512, width, device=device).to(dtype)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        rows @ square
        wait()
        products, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < budget or not products:
            rows @ square
            wait()
            products += 1
    return products * 2 * rows.numel() * width / spent


@dataclass(slots=True)
class Forecast:
    """Seconds left of `work` passes: by the calibrated pace at first, by the measured one as work is done."""

    work: float
    pace: float
    done: float = 0.0
    spent: float = 0.0

    def advance(self, work: float, seconds: float) -> None:
        """Count work that is done, and the time it took."""
        self.done += work
        self.spent += seconds

    @property
    def left(self) -> float:
        """Seconds that the rest will take."""
        prior = _PRIOR * self.work
        pace = (prior * self.pace + self.spent) / (prior + self.done)
        return pace * max(0.0, self.work - self.done)
