"""`python -m topa.evals REPORT.json`: the tables of a report as Markdown, for a README.

Takes reports of the demo and of evaluations.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..core.errors import InputError, TopaError, UsageError
from .evaluation import EvaluationReport
from .evaluation_tables import evaluation_markdown
from .report import DemoReport
from .tables import markdown_table


def markdown(path: Path) -> str:
    """The tables of a report. Raises InputError where there is none."""
    try:
        body = json.loads(path.read_bytes())
        if isinstance(body, dict) and "benchmark" in body:
            return evaluation_markdown(EvaluationReport.model_validate(body))
        return markdown_table(DemoReport.model_validate(body))
    except (OSError, ValueError) as error:  # JSON's and pydantic's errors are ValueErrors
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
