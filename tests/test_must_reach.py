"""The demo at its default scale reaches what the project promises of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.demo import run
from topa.evals.report import Difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_the_default_demo(tmp_path: Path) -> None:
    report, page = run(tmp_path / "demo", show=False)
    assert page.is_file()
    accuracy = {c.name: c.accuracy for c in report.conditions}
    by_name: dict[tuple[str, bool], Difference] = {(d.name, d.kinds is not None): d for d in report.differences}

    assert accuracy["model"].questions >= 1000
    assert accuracy["model"].groups >= 200
    assert accuracy["text"].value >= 0.85
    assert accuracy["blind"].value <= 0.25
    assert abs(by_name["model - text", False].estimate.value) <= 0.03
    against_raw = by_name["model - no_projection", False].estimate
    assert against_raw.value >= 0.08
    assert against_raw.low > 0
    assert by_name["model - shuffled_frames", True].estimate.value >= 0.15
    assert by_name["model - blind", True].estimate.value >= 0.20
    assert sum(stage.seconds for stage in report.stages) < 360  # 180 on an idle machine; CI's may be busy
    assert max(stage.peak_mb for stage in report.stages) < 3000
