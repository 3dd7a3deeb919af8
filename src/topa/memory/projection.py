"""The projection from image space to text space, by attention over a memory of text features.

Reads frame features and the memory bank's rows, writes features the aligned language model can read.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import ArtifactMismatch, UsageError

_CHUNK = 1024  # memory rows in hand at a time: with their scores they stay in a processor's cache
_CHUNK_ON_GPU = 65536  # there it is launches that cost


def project(frames: Tensor, memory: Tensor, temperature: float = 0.01, valid: Tensor | None = None) -> Tensor:
    """Express image features as weighted means of stored text features: f' = normalise(softmax(f m / tau) m).

    frames: float [..., T, D] unit rows, image space. memory: float32 or float16 [M, D] unit rows, text space, on the
    frames' device; half precision is storage only and is computed in float32, chunk by chunk. temperature: tau > 0.
    valid: bool [..., T] or None for all. Returns float32 [..., T, D] unit rows, text space; zero where not valid.
    Raises UsageError for a temperature that isn't positive, ArtifactMismatch for another width or an empty memory.

    Source: TOPA (arXiv 2405.13911), section 3.2; after DeCap (arXiv 2303.03032).
    Deviation: padding is masked; the released code turns it into the memory's mean.
    """
    _check(frames, memory, temperature)
    mean = _attend(frames.reshape(-1, frames.shape[-1]).float() / temperature, memory)
    projected = functional.normalize(mean, dim=-1).view(frames.shape)
    return projected if valid is None else projected.masked_fill(~valid[..., None], 0)


def explain(frames: Tensor, memory: Tensor, temperature: float = 0.01, top: int = 5) -> tuple[Tensor, Tensor]:
    """The memory rows that weigh most in each frame's projection, and how much.

    Arguments as in `project`; top: how many rows, at most M are given. Returns weights float32 [..., T, top], in
    descending order, shares of the softmax over all M rows, and row numbers int64 [..., T, top]. Raises as `project`.
    """
    _check(frames, memory, temperature)
    queries = frames.reshape(-1, frames.shape[-1]).float()
    top = min(top, len(memory))
    scores = queries.new_empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    total = queries.new_full((len(queries),), -torch.inf)
    start = 0
    for chunk in _chunks(memory):
        new = queries @ chunk.T / temperature
        total = torch.logaddexp(total, new.logsumexp(dim=-1))
        best = new.topk(min(top, new.shape[1]), dim=-1)
        joined = torch.cat([scores, best.values], dim=-1)
        scores, kept = joined.topk(min(top, joined.shape[1]), dim=-1)
        rows = torch.cat([rows, best.indices + start], dim=-1).gather(-1, kept)
        start += len(chunk)
    shape = (*frames.shape[:-1], top)
    return (scores - total[:, None]).exp().view(shape), rows.view(shape)


def _check(frames: Tensor, memory: Tensor, temperature: float) -> None:
    if temperature <= 0:
        raise UsageError(f"projection: found temperature {temperature}, expected a positive one, such as 0.01.")
    if memory.ndim != 2 or not len(memory) or frames.shape[-1] != memory.shape[1]:
        raise ArtifactMismatch(
            f"projection: found frames {tuple(frames.shape)} and a memory {tuple(memory.shape)}, expected [..., D] and "
            "[M, D] with one width. Encode the video and the memory with the same encoder."
        )


def _attend(queries: Tensor, memory: Tensor) -> Tensor:
    """softmax(q m) m for scaled queries [N, D], in one pass over the memory: never more than a chunk of scores exists.

    The largest score so far is subtracted, and what was summed up before is rescaled when it grows.
    """
    largest = queries.new_full((len(queries), 1), -torch.inf)
    total, mean = torch.zeros_like(largest), torch.zeros_like(queries)
    for rows in _chunks(memory):
        scores = queries @ rows.T
        now = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
        weights = scores.sub_(now).exp_()
        before = (largest - now).exp_()
        total = total * before + weights.sum(dim=1, keepdim=True)
        mean = mean.mul_(before).addmm_(weights, rows)
        largest = now
    return mean / total


def _chunks(memory: Tensor) -> Iterator[Tensor]:
    """The memory's rows in float32, some at a time."""
    size = _CHUNK_ON_GPU if memory.is_cuda else _CHUNK
    return (memory[start : start + size].float() for start in range(0, len(memory), size))
