"""The benchmarks still run: equal results first, then figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", ["options", "generation"])
def test_a_group_runs(group: str, tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--only", group, "--rounds", "1", "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {group}
    assert all(row["ratio"] > 0 and row["ours"] > 0 for row in rows)
    assert len(done.stdout.splitlines()) == len(rows)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_bridges_are_measured_once(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable, str(RUN.with_name("bridges.py")), "--out", str(tmp_path / "out"), "--seeds", "1",
        "--only", "Bridges: raw", "--json", str(figures),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first = figures.read_bytes()
    rows = {row["name"]: row for row in json.loads(first)["rows"]}
    assert rows.keys() == {"projected", "raw: no bridge"}
    assert rows["raw: no bridge"]["difference"]["high"] < -0.3
    assert rows["raw: no bridge"]["distribution"] > 3 * rows["projected"]["distribution"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "aligning" not in again.stderr + again.stdout
    assert figures.read_bytes() == first
