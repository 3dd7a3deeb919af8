"""Export Tideos to other formats: the verb `topa export`."""

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
"""Functions (Tideos, path) -> number written."""


def export(tideos: Iterable[Tideo], format: str, out: Path) -> int:
    """Write Tideos to a file atomically; return their number.

    format: a name of `FORMATS`. Raises UsageError for an unknown one, OutputError if the folder can't be written.
    """
    write: Callable[[Iterable[Tideo], Path], int] = FORMATS.load(format)
    output_folder(out.parent)
    return write(tideos, out)
