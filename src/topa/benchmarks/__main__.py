"""`python -m topa.benchmarks REPORT.json`: the table of a report as Markdown, for a README."""

from __future__ import annotations

import sys
from pathlib import Path

from .report import DemoReport
from .tables import markdown_table

if __name__ == "__main__":
    print(markdown_table(DemoReport.model_validate_json(Path(sys.argv[1]).read_bytes())))
