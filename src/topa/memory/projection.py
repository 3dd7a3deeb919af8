"""The projection from image space to text space, by attention over a memory of text features.

Reads frame features and the memory bank's rows, writes features the aligned language model can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import ArtifactMismatch, UsageError

_CHUNK = 1024  # memory rows in hand at a time: with their scores they stay in a processor's cache
_CHUNK_ON_GPU = 65536  # there it is launches that cost


class Projection(NamedTuple):
    """values: float32 [..., T, D] unit rows, text space. weights: float32 [..., T, K], the K largest shares of the
    softmax over all M rows, descending. rows: int64 [..., T, K], the numbers of these rows."""

    values: Tensor
    weights: Tensor
    rows: Tensor


def project(frames: Tensor, memory: Tensor, temperature: float = 0.01, valid: Tensor | None = None) -> Tensor:
    """Express image features as weighted means of stored text features: f' = normalise(softmax(f m / tau) m).

    frames: float [..., T, D] unit rows, image space. memory: float32 or float16 [M, D] unit rows, text space, on the
    frames' device; half precision is storage only and is computed in float32, chunk by chunk. temperature: tau > 0.
    valid: bool [..., T] or None for all. Returns float32 [..., T, D] unit rows, text space; zero where not valid.
    Raises UsageError for a temperature that isn't positive, ArtifactMismatch for another width or an empty memory.

    Source: TOPA (arXiv 2405.13911), section 3.2; after DeCap (arXiv 2303.03032).
    Deviation: padding is masked; the released code turns it into the memory's mean.
    """
    return project_with_rows(frames, memory, temperature, valid, top_k=0).values


def project_with_rows(
    frames: Tensor, memory: Tensor, temperature: float = 0.01, valid: Tensor | None = None, *, top_k: int = 5
) -> Projection:
    """Project as `project` does, and return the `top_k` memory rows that weigh most in each frame, at most M."""
    _check(frames, memory, temperature)
    queries = frames.reshape(-1, frames.shape[-1]).float() / temperature
    mean, weights, rows = _attend(queries, memory, min(top_k, len(memory)))
    values = functional.normalize(mean, dim=-1).view(frames.shape)
    if valid is not None:
        values = values.masked_fill(~valid[..., None], 0)
    shape = (*frames.shape[:-1], weights.shape[-1])
    return Projection(values, weights.view(shape), rows.view(shape))


def _check(frames: Tensor, memory: Tensor, temperature: float) -> None:
    if temperature <= 0:
        raise UsageError(f"projection: found temperature {temperature}, expected a positive one, such as 0.01.")
    if memory.ndim != 2 or not len(memory) or frames.shape[-1] != memory.shape[1]:
        raise ArtifactMismatch(
            f"projection: found frames {tuple(frames.shape)} and a memory {tuple(memory.shape)}, expected [..., D] and "
            "[M, D] with one width. Encode the video and the memory with the same encoder."
        )


def _attend(queries: Tensor, memory: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return softmax(q m) m of scaled queries [N, D], and the largest weights and their rows, [N, top_k] each.

    One pass over the memory, so that never more than a chunk of scores exists: the largest score so far is subtracted,
    and what was summed up before is rescaled when it grows.
    """
    largest = queries.new_full((len(queries), 1), -torch.inf)
    total, mean = torch.zeros_like(largest), torch.zeros_like(queries)
    best = queries.new_empty(len(queries), 0)
    best_rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    start = 0
    for chunk in _chunks(memory):
        scores = queries @ chunk.T
        if top_k:
            candidates = scores.topk(min(top_k, len(chunk)), dim=-1)
            scores_so_far = torch.cat([best, candidates.values], dim=-1)
            best, order = scores_so_far.topk(min(top_k, scores_so_far.shape[1]), dim=-1)
            best_rows = torch.cat([best_rows, candidates.indices + start], dim=-1).gather(-1, order)
            start += len(chunk)
        now = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
        weights = scores.sub_(now).exp_()
        before = (largest - now).exp_()
        total = total * before + weights.sum(dim=1, keepdim=True)
        mean = mean.mul_(before).addmm_(weights, chunk)
        largest = now
    return mean / total, (best - largest).exp() / total, best_rows


def _chunks(memory: Tensor) -> Iterator[Tensor]:
    """Yield the memory's rows in float32, a chunk at a time."""
    size = _CHUNK_ON_GPU if memory.is_cuda else _CHUNK
    return (memory[start : start + size].float() for start in range(0, len(memory), size))
