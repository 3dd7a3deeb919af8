"""An engine of the micro world, and a few videos of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.inference.engine import Topa
from topa.microworld.writer import MicroVideo, make_videos
from topa.pipeline import load


@pytest.fixture(scope="session")
def engine(micro_model: Path) -> Topa:
    return load(micro_model, show=False)


@pytest.fixture(scope="session")
def micro_videos(tmp_path_factory: pytest.TempPathFactory) -> list[MicroVideo]:
    return make_videos(tmp_path_factory.mktemp("serving-videos"), 4, 11, show=False)
