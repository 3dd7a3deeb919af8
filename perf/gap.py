"""The modality gap: how far the features that a language model was trained on lie from those that it is given.

Reads two clouds of features; says in two numbers, not one, why the one can't stand for the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from topa.core.errors import ArtifactMismatch, InputError

_CHUNK = 1 << 16  # rows in double precision at a time


@dataclass(frozen=True, slots=True)
class Gap:
    """centroid: squared distance of the means. distribution: how much the clouds differ beside that, also squared.

    Their sum is the squared Frechet distance of the clouds.
    """

    centroid: float
    distribution: float

    @property
    def total(self) -> float:
        """The squared Frechet distance."""
        return self.centroid + self.distribution

    @property
    def distance(self) -> float:
        """The distance of the means: what is usually called the modality gap."""
        return math.sqrt(self.centroid)


def modality_gap(text: Tensor, image: Tensor) -> Gap:
    """The gap between two clouds of features, float [N, D] and [M, D]; which is which changes nothing.

    With means m, n and covariances A, B of the clouds (divided by their sizes), the squared Frechet distance, which is
    the squared 2-Wasserstein distance of Gaussians with these moments, is exactly

        |m - n|^2  +  Tr(A + B - 2 (A^1/2 B A^1/2)^1/2)

    Moving a cloud changes the first part alone. Computed in float64; memory grows with D^2, not with N.
    Raises InputError for clouds without rows, of another shape, or with numbers that aren't finite, ArtifactMismatch
    for clouds of different widths.

    Source: Dowson and Landau, 1982 (the distance); arXiv 2604.00279 (the gap has a centroid and a distribution part).
    """
    for name, cloud in (("text", text), ("image", image)):
        if cloud.ndim != 2 or not len(cloud):
            raise InputError(f"modality gap: found {name} features {tuple(cloud.shape)}; expected [N, D] with N > 0.")
    if text.shape[1] != image.shape[1]:
        raise ArtifactMismatch(
            f"modality gap: found text features {text.shape[1]} wide and image features {image.shape[1]} wide; "
            "expected one width. Encode both with the same encoder."
        )
    (m, a), (n, b) = _moments(text), _moments(image)
    # Tr (A^1/2 B A^1/2)^1/2 is the sum of singular values of A^1/2 B^1/2; a root less is taken, so equal clouds give 0.
    shared = torch.linalg.svdvals(_root(a) @ _root(b)).sum()
    distribution = a.trace() + b.trace() - 2 * shared
    return Gap(float((m - n).square().sum()), max(0.0, float(distribution)))


def centroid(cloud: Tensor) -> Tensor:
    """The mean of rows [N, D] of any type, some at a time: float64 [D]."""
    return torch.stack([rows.sum(dim=0) for rows in _chunks(cloud)]).sum(dim=0) / len(cloud)


def _moments(cloud: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] in float64."""
    mean = centroid(cloud)
    if not torch.isfinite(mean).all():
        raise InputError("modality gap: found NaN or infinite features; expected finite ones. Encode again.")
    covariance = mean.new_zeros(len(mean), len(mean))
    for rows in _chunks(cloud):
        centred = rows - mean
        covariance.addmm_(centred.T, centred)
    return mean, covariance / len(cloud)


def _chunks(cloud: Tensor) -> Iterator[Tensor]:
    return (cloud[start : start + _CHUNK].double() for start in range(0, len(cloud), _CHUNK))


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
