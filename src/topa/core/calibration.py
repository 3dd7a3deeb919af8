"""Measure in about a second how fast this machine is, for estimates of how long a run will take.

Other load on the machine slows the measurement as it will slow the run, so a busy machine gives a longer estimate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_PRIOR = 0.1
"""Share of the work after which measured progress weighs as much as the calibration."""
_BATCH, _HEADS, _TOKENS, _WIDTH, _INNER = 32, 4, 64, 128, 384  # a layer of the micro language model in training


def seconds_per_pass(budget: float = 1.0) -> float:
    """Measure one pass, forward and backward, through a layer of the micro language model's size.

    budget: seconds to spend on the measurement.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = {"inward": (_WIDTH, _INNER), "outward": (_INNER, _WIDTH), "queries": (_WIDTH, 3 * _WIDTH)}
    weights = {name: torch.randn(shape, generator=generator) / 16 for name, shape in shapes.items()}
    rows = torch.randn(_BATCH, _TOKENS, _WIDTH, generator=generator, requires_grad=True)
    _layer(rows, weights).backward()  # type: ignore[no-untyped-call]  # the first pass pays for threads and memory
    passes, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < budget or not passes:
        _layer(rows, weights).backward()  # type: ignore[no-untyped-call]
        passes += 1
    return elapsed / passes


def _layer(rows: Tensor, weights: dict[str, Tensor]) -> Tensor:
    normalised = F.layer_norm(rows, (_WIDTH,))
    queries, keys, values = (
        (normalised @ weights["queries"]).view(_BATCH, _TOKENS, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
    )
    attention = F.scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2)
    feed_forward = F.silu(normalised @ weights["inward"]) @ weights["outward"]
    return (rows + attention.reshape(rows.shape) + feed_forward).square().mean()


def operations_per_second(width: int, device: torch.device, dtype: torch.dtype, budget: float = 1.0) -> float:
    """Measure the floating-point operations per second of matrix products of a language model's width."""
    square = torch.randn(width, width, device=device).to(dtype)
    rows = torch.randn(512, width, device=device).to(dtype)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        rows @ square
        wait()
        products, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < budget or not products:
            rows @ square
            wait()
            products += 1
    return products * 2 * rows.numel() * width / elapsed


@dataclass(slots=True)
class Forecast:
    """Estimate of the remaining time, from the calibration at first and from measured progress later.

    work: passes in total. pace: calibrated seconds per pass.
    """

    work: float
    pace: float
    completed_work: float = 0.0
    elapsed_seconds: float = 0.0

    def advance(self, work: float, seconds: float) -> None:
        """Add finished work, in passes, and the seconds it took."""
        self.completed_work += work
        self.elapsed_seconds += seconds

    @property
    def remaining_seconds(self) -> float:
        """Estimated seconds until the end."""
        prior = _PRIOR * self.work
        pace = (prior * self.pace + self.elapsed_seconds) / (prior + self.completed_work)
        return pace * max(0.0, self.work - self.completed_work)
