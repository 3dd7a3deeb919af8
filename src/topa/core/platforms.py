"""Import modules that only some systems have, such as `resource`, which Windows lacks."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def optional_module(name: str) -> ModuleType | None:
    """Return a module, or None if this system doesn't have it."""
    try:
        return import_module(name)
    except ImportError:
        return None
