"""`python -m topa.evals REPORT.json`: the tables of a report as Markdown, for a README."""

from __future__ import annotations

import sys
from pathlib import Path

from ..core.errors import InputError, TopaError, UsageError
from .report import EvaluationReport
from .tables import report_markdown


def markdown(path: Path) -> str:
    """Return the tables of a report. Raises InputError where there is none."""
    try:
        return report_markdown(EvaluationReport.model_validate_json(path.read_bytes()))
    except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
        raise InputError(
            f"{path}: not a report ({error}). Expected report.json of topa evaluate or topa demo."
        ) from error


def main(arguments: list[str]) -> int:
    """Print the tables; gives the exit code."""
    try:
        if len(arguments) != 1:
            raise UsageError(f"found {len(arguments)} arguments; expected one: python -m topa.evals REPORT.json")
        print(markdown(Path(arguments[0])))
    except TopaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
