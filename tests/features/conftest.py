"""Files that several tests read. Without torch, too: `make test-reading` runs those that need none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .clips import steady, write_video

if TYPE_CHECKING:
    from topa.features.encoder import Encoder


def load(folder: Path) -> Encoder:
    from topa.features.encoder import Encoder

    return Encoder.from_pretrained(folder, device="cpu")


@pytest.fixture
def long_gop(tmp_path: Path) -> Path:
    """200 frames, 8 s, keyframes 90 apart, B-frames."""
    options = {"g": "90", "keyint_min": "90", "sc_threshold": "0", "bf": "3", "preset": "veryfast"}
    return write_video(tmp_path / "long.mp4", steady(200), options=options)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .towers import save_clip

    return save_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .towers import save_siglip

    return save_siglip(tmp_path_factory.mktemp("models") / "tiny-siglip")


@pytest.fixture(scope="session")
def siglip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .towers import save_siglip2

    return save_siglip2(tmp_path_factory.mktemp("models") / "tiny-siglip2")


@pytest.fixture(scope="session")
def metaclip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .towers import save_metaclip2

    return save_metaclip2(tmp_path_factory.mktemp("models") / "tiny-metaclip2")


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> Encoder:
    return load(clip_folder)


@pytest.fixture(scope="session")
def siglip(siglip_folder: Path) -> Encoder:
    return load(siglip_folder)


@pytest.fixture(scope="session")
def siglip2(siglip2_folder: Path) -> Encoder:
    return load(siglip2_folder)


@pytest.fixture(scope="session")
def metaclip2(metaclip2_folder: Path) -> Encoder:
    return load(metaclip2_folder)
