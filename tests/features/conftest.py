"""Files that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.features.encoder import Encoder

from .clips import steady, write_video
from .towers import save_clip, save_metaclip2, save_siglip, save_siglip2


@pytest.fixture
def long_gop(tmp_path: Path) -> Path:
    """200 frames, 8 s, keyframes 90 apart, B-frames."""
    options = {"g": "90", "keyint_min": "90", "sc_threshold": "0", "bf": "3", "preset": "veryfast"}
    return write_video(tmp_path / "long.mp4", steady(200), options=options)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_siglip(tmp_path_factory.mktemp("models") / "tiny-siglip")


@pytest.fixture(scope="session")
def siglip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_siglip2(tmp_path_factory.mktemp("models") / "tiny-siglip2")


@pytest.fixture(scope="session")
def metaclip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_metaclip2(tmp_path_factory.mktemp("models") / "tiny-metaclip2")


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> Encoder:
    return Encoder.from_pretrained(clip_folder, device="cpu")


@pytest.fixture(scope="session")
def siglip(siglip_folder: Path) -> Encoder:
    return Encoder.from_pretrained(siglip_folder, device="cpu")


@pytest.fixture(scope="session")
def siglip2(siglip2_folder: Path) -> Encoder:
    return Encoder.from_pretrained(siglip2_folder, device="cpu")


@pytest.fixture(scope="session")
def metaclip2(metaclip2_folder: Path) -> Encoder:
    return Encoder.from_pretrained(metaclip2_folder, device="cpu")
