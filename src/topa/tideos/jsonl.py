"""Read and write Tideos as JSON Lines, the format of all stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ..core.artifacts import atomic_file
from ..core.errors import InputError
from .tideo import Tideo


def read_jsonl(path: Path) -> Iterator[Tideo]:
    """Yield the Tideos of a file, one in memory at a time.

    Raises InputError, with the line number, if a line is no Tideo, and if the file is empty.
    """
    number = 0
    try:
        # Split at "\n" only: captions may hold other characters that Python takes for line ends.
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield _parse(line, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}). Expected Tideos as JSON Lines.") from error
    if not number:
        raise InputError(f"{path}: found no Tideos; expected one JSON object a line.")


def write_jsonl(tideos: Iterable[Tideo], path: Path) -> int:
    """Write Tideos atomically; return their number. Raises OutputError if the folder can't be written."""
    number = 0
    with atomic_file(path) as file:
        for tideo in tideos:
            number += 1
            file.write(tideo.model_dump_json().encode() + b"\n")
    return number


def _parse(line: str, path: Path, number: int) -> Tideo:
    try:
        return Tideo.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise InputError(f"{path}:{number}: {where}: {first['msg']}. Mend or remove the line.") from error
