"""Files that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from .clips import steady, write_video


@pytest.fixture
def long_gop(tmp_path: Path) -> Path:
    """200 frames, 8 s, keyframes 90 apart, B-frames."""
    options = {"g": "90", "keyint_min": "90", "sc_threshold": "0", "bf": "3", "preset": "veryfast"}
    return write_video(tmp_path / "long.mp4", steady(200), options=options)
