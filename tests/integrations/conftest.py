"""An engine of the micro world and some of its videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa import Topa
from topa.core.embedded import resolve
from topa.microworld.writer import MicroVideo, make_videos


@pytest.fixture(scope="session")
def engine(micro_model: Path) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[MicroVideo]:
    return make_videos(tmp_path_factory.mktemp("toys"), 3, 41, questions=3, show=False)
