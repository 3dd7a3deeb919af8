"""Registries that map the names of a family (encoders, benchmarks) to lazy import paths."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import UsageError

_FEW = 24


def unknown(what: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for an unknown name: it suggests the nearest choice, and lists all if they are few."""
    names = sorted(choices)
    near = difflib.get_close_matches(name, names, n=1)
    if near and len(names) > _FEW:
        return UsageError(f"unknown {what} {name!r}; did you mean {near[0]!r}? There are {len(names)} of them.")
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UsageError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}.")


class Registry:
    """The names of one family. Values are `module:attribute` strings, imported on use."""

    def __init__(self, what: str, entries: dict[str, str]) -> None:
        self._what = what
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def load(self, name: str) -> Any:
        """Import the object behind a name. Raises UsageError, with the nearest known name."""
        if name not in self._entries:
            raise unknown(self._what, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
