"""Export Tideos to other formats: the verb `topa export`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..core.artifacts import output_folder
from ..core.printable import Printout
from ..core.registry import Registry
from .jsonl import read_jsonl
from .tideo import Tideo
from .verbs import ExportConfig

FORMATS = Registry(
    "format",
    {
        "jsonl": "topa.tideos.jsonl:write_jsonl",
        "parquet": "topa.tideos.parquet:write_parquet",
        "textvid": "topa.tideos.textvid:write_textvid",
    },
)
"""Functions (Tideos, path) -> number written."""


def export(config: ExportConfig) -> Printout[int]:
    """Write the Tideos of a file in another form, whole or not at all.

    Raises UsageError for an unknown form, InputError for Tideos that can't be read, OutputError where the folder can't
    be written.
    """
    write: Callable[[Iterable[Tideo], Path], int] = FORMATS.load(config.format)
    output_folder(config.out.parent)
    number = write(read_jsonl(config.tideos), config.out)
    return Printout(number, [f"exported: {config.out} ({number:,} Tideos)"], {"tideos": number})
