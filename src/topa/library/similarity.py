"""How a frame is compared with words: the cosine as it is, or with the modality gap taken out of it.

Reads rows of image space and queries of text space; search and `when` rank by what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from ..core.errors import ArtifactMismatch, UsageError
from ..core.registry import unknown
from ..memory.bank import MemoryBank
from ..memory.projection import project
from ..memory.shift import centroid

Similarity = Literal["raw", "centred", "projected"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
DEFAULT: Similarity = "raw"
"""What retrieves best on the micro world for what it costs (docs/log.md)."""


@dataclass(frozen=True, slots=True)
class FrameScorer:
    """One way to compare.

    raw: the cosine of picture and words. centred: the same after each side's mean was taken away, which is the part of
    the modality gap that lies between the means. projected: the cosine of the words with what the picture is read as,
    its projection through the memory. Source: C3 (arXiv 2401.08567) for centring, TOPA for the projection.

    pictures, words: float32 [D], means of the two sides; centred only. memory: projected only.
    """

    similarity: Similarity
    temperature: float = 0.01
    pictures: Tensor | None = None
    words: Tensor | None = None
    memory: MemoryBank | None = None

    def queries(self, rows: Tensor) -> Tensor:
        """Queries of text space, float32 [Q, D] unit rows, made ready for `scores`."""
        return rows if self.words is None else normalize(rows - self.words, dim=-1)

    def scores(self, queries: Tensor, frames: Tensor) -> Tensor:
        """float32 [Q, T] of queries that were made ready and frames float32 [T, D] of image space."""
        if self.pictures is None:
            return linear(queries, self.look(frames))
        # |f - m|^2 and q (f - m) are had from products, so that no second copy of the rows is made.
        products = linear(torch.cat([queries, self.pictures[None]]), frames)
        lengths = (1 + self.pictures.square().sum() - 2 * products[-1]).clamp_min_(1e-6).sqrt_()
        return (products[:-1] - (queries @ self.pictures)[:, None]) / lengths

    def look(self, frames: Tensor) -> Tensor:
        """Rows float32 [T, D] whose products with a query that was made ready are the frames' scores."""
        if self.memory is not None:
            return project(frames, self.memory.values, self.temperature)
        return frames if self.pictures is None else normalize(frames - self.pictures, dim=-1)


def expect_memory(similarity: Similarity, memory: MemoryBank | None) -> None:
    """Raises UsageError for an unknown similarity, or one without the memory that it needs."""
    if similarity not in SIMILARITIES:
        raise unknown("similarity", similarity, SIMILARITIES)
    if similarity != "raw" and memory is None:
        raise UsageError(
            f"similarity {similarity}: needs a memory of captions; found none. Name a model that has one with --model, "
            "or take --similarity raw."
        )


def compare(
    similarity: Similarity, encoder: str, pictures: Tensor, memory: MemoryBank | None = None, temperature: float = 0.01
) -> FrameScorer:
    """A way to compare pictures of which a sample is given, float [N, D] in image space, with words.

    memory: of the same encoder; "centred" takes the mean of words from it. Raises UsageError for an unknown similarity
    or one without the memory that it needs, ArtifactMismatch for a memory of another encoder.
    """
    expect_memory(similarity, memory)
    if similarity == "raw" or memory is None:
        return FrameScorer("raw")
    if memory.encoder != encoder:
        raise ArtifactMismatch(
            f"similarity {similarity}: the memory is of {memory.encoder}, the library of {encoder}; expected one "
            f"encoder. Name a model with --model that was made with {encoder}, or take --similarity raw."
        )
    if similarity == "projected":
        return FrameScorer("projected", temperature, memory=memory)
    return FrameScorer("centred", pictures=centroid(pictures).float(), words=centroid(memory.values).float())
