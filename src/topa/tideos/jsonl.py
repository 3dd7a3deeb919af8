"""Read and write Tideos as JSON Lines, the format of all stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ..core.artifacts import atomic_file
from ..core.errors import InputError, first_problem
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
                yield parse_line(line, path, number)
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


def parse_line(line: str | bytes, path: Path, number: int, advice: str = "") -> Tideo:
    """Parse one line. number, advice: for the InputError that is raised if it is no Tideo."""
    try:
        return Tideo.model_validate_json(line)
    except ValidationError as error:
        problem = first_problem(error, "the line")
        raise InputError(f"{path}:{number}: {problem}. Mend or remove the line{advice}.") from error
