"""The versions that decide results."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from .artifacts import own_version


def versions(*, everything: bool) -> Iterator[str]:
    """Yield the version of topa; everything: also of what decides its results. None of it is imported."""
    yield f"topa {own_version()}"
    if not everything:
        return
    yield f"python {platform.python_version()} ({platform.platform()})"
    for name in ("torch", "transformers", "av"):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} is not installed"
