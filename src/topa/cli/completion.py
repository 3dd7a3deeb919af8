"""What the shell completes values to: names of closed sets, read without loading anything heavy."""

from __future__ import annotations

from collections.abc import Callable

Values = Callable[[], list[str]]


def any_of(*names: str) -> Values:
    """A set that is known here."""
    return lambda: list(names)


def benchmarks() -> list[str]:
    """What `topa evaluate` measures on."""
    from ..evals.catalogue import BENCHMARKS

    return list(BENCHMARKS)


def recipes() -> list[str]:
    """The recipes that come with topa, for `topa align`."""
    from ..training.config import recipes as known

    return known()
