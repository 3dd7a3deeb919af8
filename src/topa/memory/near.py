"""Rows that are nearly the same: which of them a memory can do without.

All pairs of a million rows are too many to look at. Equal rows are found by their bytes; then random trees bring rows
that lie close to each other into leaves of a few hundred, and within a leaf every pair is looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from ..core.errors import UsageError
from ..core.progress import bar

TREES = 8
_LEAF = 512  # rows in which every pair is looked at
_READ = 1 << 13  # rows in float32 at a time


def distinct(values: Tensor, near: float, seed: int = 0, *, trees: int = TREES, show: bool = True) -> NDArray[np.int64]:
    """Return the numbers of the rows to keep, ascending: of rows whose cosine is `near` or more one.

    values: [M, D] unit rows, finite. near: above 0, at most 1; 1 leaves out equal rows only.
    Every row that is left out has one among those kept with a cosine of `near` or more: that is checked. That one of
    two near rows is left out is likely, not certain: the nearer they are, and the more trees are grown, the likelier;
    up to 512 rows, it is certain. The same seed gives the same rows. Time grows with M log M, memory with M.
    Raises UsageError for another `near`.

    Source: random projection trees (Dasgupta and Freund 2008), with differences of rows as directions.
    """
    if not 0 < near <= 1:
        raise UsageError(f"--near: found {near}; expected a cosine above 0, at most 1, such as 0.98.")
    # kept_for[i]: the row for whose sake row i is left out; i itself where it is kept.
    kept_for = _equal(values)
    if near < 1:
        generator = np.random.default_rng(seed)
        with bar("near duplicates", trees, show=show) as line:
            for _ in range(trees):
                remaining = np.flatnonzero(kept_for == np.arange(len(values)))
                for leaf in _leaves(values, remaining, generator):
                    _thin(values, leaf, near, kept_for)
                line.advance(note=f"{int((kept_for != np.arange(len(values))).sum()):,} found")
                if len(remaining) <= _LEAF:
                    break
        _put_back(values, near, kept_for)
    return np.flatnonzero(kept_for == np.arange(len(values)))


def _equal(values: Tensor) -> NDArray[np.int64]:
    """Find for each row the first row of the same bytes."""
    rows = values.numpy()
    _, first, group = np.unique(
        rows.view(f"V{rows.shape[1] * rows.itemsize}")[:, 0], return_index=True, return_inverse=True
    )
    return first[group].astype(np.int64)


def _leaves(values: Tensor, rows: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Split rows into groups of at most `_LEAF`, each ascending: halved repeatedly at the median along a direction."""
    depth = max(0, int(np.ceil(np.log2(max(len(rows), 1) / _LEAF))))
    ends = generator.choice(rows, (2, depth))
    # The difference of two rows points where rows spread; a direction drawn blindly in a narrow cone would not.
    directions = values[ends[0]].float() - values[ends[1]].float()
    places = np.empty((depth, len(rows)), np.float32)
    for start in range(0, len(rows), _READ):
        part = values[rows[start : start + _READ]].float()
        places[:, start : start + _READ] = (directions @ part.T).numpy()
    groups = [np.arange(len(rows))]
    for place in places:
        halves = []
        for group in groups:
            split = np.argpartition(place[group], len(group) // 2)
            halves += [group[split[: len(group) // 2]], group[split[len(group) // 2 :]]]
        groups = halves
    return [rows[np.sort(group)] for group in groups if len(group) > 1]


def _thin(values: Tensor, leaf: NDArray[np.int64], near: float, kept_for: NDArray[np.int64]) -> None:
    """Leave out of one leaf every row that is near to an earlier one that is kept."""
    own = normalize(values[leaf].float(), dim=-1)  # of half-precision rows products alone are no cosines
    close = (own @ own.T >= near).numpy()
    left = np.zeros(len(leaf), bool)
    for row in np.flatnonzero(np.triu(close, 1).any(axis=1)).tolist():
        if not left[row]:
            duplicates = np.flatnonzero(close[row, row + 1 :] & ~left[row + 1 :]) + row + 1
            left[duplicates] = True
            kept_for[leaf[duplicates]] = leaf[row]


def _put_back(values: Tensor, near: float, kept_for: NDArray[np.int64]) -> None:
    """Put back rows that are near to none that is kept in the end, as the one near to them was left out itself."""
    while (kept_for[kept_for] != kept_for).any():
        kept_for[:] = kept_for[kept_for]
    out = np.flatnonzero(kept_for != np.arange(len(kept_for)))
    for start in range(0, len(out), _READ):
        rows = out[start : start + _READ]
        cosines = cosine_similarity(values[rows].float(), values[kept_for[rows]].float()).numpy()
        apart = rows[cosines < near - 1e-6]
        kept_for[apart] = apart
