"""Tideos in the forms that others read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..core.artifacts import output_folder
from ..core.registry import Registry
from .tideo import Tideo

FORMATS = Registry(
    "format",
    {
        "jsonl": "topa.tideos.jsonl:write_jsonl",
        "parquet": "topa.tideos.parquet:write_parquet",
        "textvid": "topa.tideos.textvid:write_textvid",
    },
)
"""Functions (Tideos, path) -> how many were written."""


def export(tideos: Iterable[Tideo], form: str, out: Path) -> int:
    """Write Tideos in a form, whole or not at all; gives how many.

    Raises UsageError for an unknown form, OutputError where the folder can't be written.
    """
    write: Callable[[Iterable[Tideo], Path], int] = FORMATS.load(form)
    output_folder(out.parent)
    return write(tideos, out)
