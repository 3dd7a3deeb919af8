"""Tideos as Parquet, for `datasets.load_dataset("parquet", data_files=...)` and data frames.

The columns are the fields of a Tideo; `source`, which may hold anything, is a column of JSON strings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.artifacts import atomic_file
from ..core.errors import UsageError
from ..core.install import install_line
from .tideo import Tideo

_GROUP = 1024  # Tideos in memory at a time


def write_parquet(tideos: Iterable[Tideo], path: Path) -> int:
    """Write Tideos atomically; return their number.

    Raises UsageError if pyarrow isn't installed, OutputError if the folder can't be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(f"export: Parquet needs another package: {install_line('data')}") from error
    text, texts = pa.string(), pa.list_(pa.string())
    frame = pa.struct([("caption", text), ("objects", texts)])
    question = pa.struct(
        [("question", text), ("kind", text), ("options", texts), ("answer", pa.int64()), ("answer_text", text)]
    )
    columns = {"id": text, "frames": pa.list_(frame), "description": text, "questions": pa.list_(question)}
    schema = pa.schema([*columns.items(), ("source", text)])
    number = 0
    with atomic_file(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(tideos):
            writer.write_table(pa.Table.from_pylist([_row(tideo) for tideo in group], schema=schema))
            number += len(group)
    return number


def _row(tideo: Tideo) -> dict[str, Any]:
    return {**tideo.model_dump(), "source": json.dumps(tideo.source, ensure_ascii=False)}


def _groups(tideos: Iterable[Tideo]) -> Iterator[list[Tideo]]:
    stream = iter(tideos)
    while group := list(islice(stream, _GROUP)):
        yield group
