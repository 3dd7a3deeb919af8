"""Every test that docs/fidelity.md names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fidelity.md"


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_named_tests_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert named
    missing = [f"{file}::{test}" for file, test in named if test not in names_in(ROOT / file)]
    assert not missing


def test_every_row_is_whole() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
