"""The log of a training run: `metrics.jsonl`, a JSON object a line, each with the step that it belongs to.

Written by the training loop, read by whoever watches.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..core.artifacts import atomic_file, open_to_append
from ..core.errors import InputError, OutputError

METRICS = "metrics.jsonl"


class MetricsLog:
    """A writer that appends rows to a log; a context manager. Where a run goes on, `cut` the log first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = io.TextIOWrapper(open_to_append(self._path), encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as full:
            if error is None:
                raise self._unwritable(full) from full

    def write(self, row: Mapping[str, Any]) -> None:
        """Log a row: JSON values, all numbers finite, an integer `step` among them. Raises OutputError."""
        line = json.dumps(row, allow_nan=False) + "\n"
        try:
            self._file.write(line)
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Flush what was written, so that others can read it. Raises OutputError."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path}: can't be written ({error.strerror}). "
            "Make room, or name another folder with --out; then run the same command again."
        )


def cut(path: Path, step: int, *, validation: bool = True) -> None:
    """Remove what was logged after the step that a run goes on from: it will be logged again.

    Lines that a kill cut off go as well. validation: keep what was measured on held-out data at exactly this step;
    False where the run will measure it again. Does nothing where there is no log; raises OutputError where it can't be
    rewritten.
    """
    if not path.is_file():
        return
    with atomic_file(path, "lines") as output, path.open("rb") as lines:
        for line in lines:
            row = _parsed(line)
            if row is None or row["step"] > step or (row["step"] == step and "held_out" in row and not validation):
                continue
            output.write(line.rstrip(b"\n") + b"\n")


def read_metrics(path: Path, broken: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a log in order, also while it is being written.

    Lines that are no rows are passed over, and their numbers, from 1, added to `broken`; a last line without its end is
    still being written and isn't counted. Raises InputError where there is no log.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                row = _parsed(line)
                if row is not None:
                    yield row
                elif broken is not None and line.endswith(b"\n"):
                    broken.append(number)
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}). Expected the log of a training run; name the folder of a run."
        ) from error


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
