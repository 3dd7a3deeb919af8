"""What is in a memory: how many of its rows say something of their own, and what they say.

Reads a memory bank from the disk, chunk by chunk.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.printable import Printable
from ..core.progress import bar
from .bank import MemoryBank

NEAR = (0.9999, 0.98, 0.95)
"""Cosines from which rows count as equal, nearly equal, alike."""
_SAMPLE, _SPREAD, _CAPTIONS = 256, 8192, 10_000  # rows looked at for neighbours, for dimensions, for words
_CHUNK = 1 << 13
_UNIT = 1e-2  # how far a row's length may be from 1
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Neighbours:
    """A row's caption, that of the row nearest to it, and their cosine."""

    caption: str
    nearest: str
    cosine: float


@dataclass(frozen=True)
class Inspection(Printable):
    """What `inspect` finds. Of a sample of rows against all rows: near: the share of those that have another one at
    such a cosine or more; distinct_rows: about how many rows are left when of nearly equal ones one is kept; cosine:
    the mean over all pairs. dimensions: how many directions the rows fill (the exponential of the entropy of their
    variances), of `width`. bad_rows: rows that are no unit rows. words: the fewest, the median and the most words of a
    caption; None without captions. distinct_captions: their share among the captions looked at."""

    rows: int
    width: int
    encoder: str
    bytes: int
    bad_rows: int
    near: dict[str, float]
    distinct_rows: int
    cosine: float
    dimensions: float
    words: tuple[int, float, int] | None
    distinct_captions: float | None
    examples: tuple[Neighbours, ...]

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        near = ", ".join(f"{share:.1%} at {cosine}" for cosine, share in self.near.items())
        yield f"rows:       {self.rows:,} of width {self.width}, {self.bytes / 1e6:,.1f} MB"
        yield f"encoder:    {self.encoder}"
        yield f"neighbours: {near} (share of rows with another one as near, by a sample)"
        yield f"distinct:   about {self.distinct_rows:,} rows where nearly equal ones (0.98) count once"
        spread = f"{self.dimensions:,.1f} of {self.width} dimensions; mean cosine of two rows {self.cosine:.3f}"
        yield f"spread:     {spread}"
        if self.bad_rows:
            yield f"damaged:    {self.bad_rows:,} rows are no unit rows. Build the memory again"
        if self.words is None:
            yield "captions:   none. Build it with --tideos to have readings in words"
            return
        shortest, median, longest = self.words
        words = f"{shortest} to {longest} words, median {median:g}"
        yield f"captions:   {words}; {self.distinct_captions:.1%} are different"
        for pair in self.examples:
            yield f"  {pair.cosine:.3f}  {pair.caption}  |  {pair.nearest}"


def inspect(bank: MemoryBank, seed: int = 0, *, show: bool = True) -> Inspection:
    """Compare a sample of a memory's rows with all of them. The same seed gives the same sample."""
    rng = random.Random(seed)
    count = len(bank)
    sample = torch.tensor(sorted(rng.sample(range(count), min(_SAMPLE, count))))
    queries, _ = _unit(bank.values[sample])
    alike = torch.zeros(len(NEAR), len(sample), dtype=torch.int64)
    best, nearest = torch.full((len(sample),), -torch.inf), torch.zeros(len(sample), dtype=torch.int64)
    total = torch.zeros(len(sample), dtype=torch.float64)
    bad = 0
    with bar("inspect", count, show=show) as line:
        for start in range(0, count, _CHUNK):
            rows, wrong = _unit(bank.values[start : start + _CHUNK])
            bad += wrong
            scores = queries @ rows.T
            own = torch.nonzero((sample >= start) & (sample < start + len(rows))).flatten()
            scores[own, sample[own] - start] = -torch.inf
            alike += torch.stack([(scores >= limit).sum(dim=1) for limit in NEAR])
            total += scores.masked_fill(scores.isinf(), 0).sum(dim=1, dtype=torch.float64)
            nearest_in_chunk = scores.max(dim=1)
            nearest = torch.where(nearest_in_chunk.values > best, nearest_in_chunk.indices + start, nearest)
            best = torch.maximum(best, nearest_in_chunk.values)
            line.advance(len(rows))
    words, distinct = _words(bank, rng)
    return Inspection(
        rows=count,
        width=bank.values.shape[1],
        encoder=bank.encoder,
        bytes=bank.values.numel() * bank.values.element_size(),
        bad_rows=bad,
        near={str(limit): float((row > 0).double().mean()) for limit, row in zip(NEAR, alike, strict=True)},
        # Of k rows that are nearly equal each counts 1/k, so that together they count as one.
        distinct_rows=round(count * float((1 / (1 + alike[NEAR.index(0.98)].double())).mean())),
        cosine=float(total.mean()) / max(count - 1, 1),
        dimensions=_dimensions(bank.values, rng),
        words=words,
        distinct_captions=distinct,
        examples=_examples(bank, sample, nearest, best) if count > 1 else (),
    )


def _unit(stored: Tensor) -> tuple[Tensor, int]:
    """Return float32 unit rows of stored ones, with zeros for those that are none, and the number of these."""
    rows = stored.float()
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    unit = (lengths - 1).abs() <= _UNIT  # NaN compares false
    return torch.where(unit, rows / lengths, 0.0), int((~unit).sum())


def _words(bank: MemoryBank, rng: random.Random) -> tuple[tuple[int, float, int] | None, float | None]:
    if bank.captions is None:
        return None, None
    rows = rng.sample(range(len(bank)), min(_CAPTIONS, len(bank)))
    captions = [bank.captions[row] for row in rows]
    lengths = [len(caption.split()) for caption in captions]
    return (min(lengths), statistics.median(lengths), max(lengths)), len(set(captions)) / len(captions)


def _dimensions(values: Tensor, rng: random.Random) -> float:
    rows = torch.tensor(sorted(rng.sample(range(len(values)), min(_SPREAD, len(values)))))
    own, _ = _unit(values[rows])
    centred = own - own.mean(dim=0)
    variances = torch.linalg.eigvalsh((centred.T @ centred).double()).clamp_min(0)
    if not variances.sum() > 0:
        return 0.0
    shares = variances / variances.sum()
    return float(torch.special.entr(shares).sum().exp())


def _examples(bank: MemoryBank, sample: Tensor, nearest: Tensor, best: Tensor) -> tuple[Neighbours, ...]:
    """Pick pairs from the nearest of the sample to the one that is farthest apart."""
    if bank.captions is None:
        return ()
    order = best.argsort(descending=True)
    places = order[torch.linspace(0, len(order) - 1, min(_EXAMPLES, len(order))).long()].tolist()
    return tuple(
        Neighbours(bank.captions[int(sample[i])], bank.captions[int(nearest[i])], float(best[i])) for i in places
    )
