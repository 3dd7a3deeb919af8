"""An engine of the micro world, and a few videos of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.library.index import index
from topa.library.library import contents_of
from topa.library.verbs import IndexConfig
from topa.microworld.writer import MicroVideo, make_videos
from topa.training.pretrained import load

from .running import Running, running


@pytest.fixture(scope="session")
def engine(micro_model: Path) -> Topa:
    return load(micro_model, show=False)


@pytest.fixture(scope="session")
def micro_videos(tmp_path_factory: pytest.TempPathFactory) -> list[MicroVideo]:
    return make_videos(tmp_path_factory.mktemp("serving-videos"), 4, 11, show=False)


@pytest.fixture(scope="session")
def contents(micro_videos: list[MicroVideo], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """A library of the videos."""
    out = tmp_path_factory.mktemp("serving-library") / "library"
    videos = tuple(str(video.path) for video in micro_videos)
    index(IndexConfig(videos=videos, out=out, encoder="microworld/clip", workers=1), show=False)
    return contents_of(out)


@pytest.fixture(scope="session")
def server(engine: Topa, contents: Contents) -> Iterator[Running]:
    """Serves the model and the library."""
    with running(engine, contents=contents) as found:
        yield found
