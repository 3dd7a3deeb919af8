"""Describe how two configurations differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def config_diff(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Return the differences as text, "" if there are none. Hashes are shortened."""
    names = [name for name in {**now, **before} if now.get(name) != before.get(name)]
    return "; ".join(f"{name} is {_short(now.get(name))} and was {_short(before.get(name))}" for name in names)


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else repr(value)
