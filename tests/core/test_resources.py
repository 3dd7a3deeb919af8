"""Seconds and peak memory, measured in a process of its own, where nothing else allocates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from topa.core.resources import measure

SCRIPT = """
import json
from topa.core.resources import measure
peaks = []
for size in (0, 200, 0):
    with measure() as spent:
        block = bytearray(b"x") * (size * 10**6)
    del block
    peaks.append(spent.peak_mb)
print(json.dumps(peaks))
"""


def test_an_allocation_shows_in_the_peak() -> None:
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, during, after = json.loads(process.stdout)
    assert 195 < during - before < 260
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        assert after < during - 150
    else:
        assert after >= during


def test_a_failed_stage_is_measured_too() -> None:
    with pytest.raises(ValueError, match="x"), measure() as usage:  # noqa: PT012
        sum(range(200_000))
        raise ValueError("x")
    assert 0 < usage.seconds < 30
    assert usage.peak_mb > 5


def test_without_proc_the_peak_since_the_start_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("topa.core.resources._CLEAR", tmp_path / "absent" / "x")
    monkeypatch.setattr("topa.core.resources._STATUS", tmp_path / "absent")
    with measure() as usage:
        pass
    assert 5 < usage.peak_mb < 100_000


def test_without_what_only_unix_has_the_peak_is_told_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("topa.core.resources._STATUS", tmp_path / "absent")
    with measure() as unix:
        pass
    monkeypatch.setattr("topa.core.resources.optional_module", lambda name: None)
    with measure() as usage:
        pass
    assert 5 < usage.peak_mb < 2 * unix.peak_mb
