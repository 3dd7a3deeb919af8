"""Modules that only some systems have, such as `resource`, which Windows lacks."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def optional_module(name: str) -> ModuleType | None:
    """Return a module; None where there is none."""
    try:
        return import_module(name)
    except ImportError:
        return None
