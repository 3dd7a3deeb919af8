"""The mean shift: what all pictures share goes, what they show stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from topa.core.errors import ArtifactError, ArtifactMismatch, InputError
from topa.features.frames import FrameFeatures
from topa.memory.bank import MemoryBank
from topa.memory.shift import MIN_VIDEOS, MeanShift, centroid, measure_shift

WIDTH = 16


def features(values: Tensor, space: str = "image") -> FrameFeatures:
    return FrameFeatures.unpadded(values, space, "clip")


@pytest.fixture
def bank() -> MemoryBank:
    rows = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(0))
    return MemoryBank(normalize(rows, dim=-1).half(), "clip", tuple(map(str, range(200))))


@pytest.fixture
def videos(bank: MemoryBank) -> list[FrameFeatures]:
    """Pictures of the memory's rows, five a video, by a camera that adds the same to each."""
    camera = torch.zeros(WIDTH)
    camera[0] = 3.0
    return [features(normalize(rows.float() + camera, dim=-1)) for rows in bank.values.split(5)]


def right(bank: MemoryBank, videos: list[FrameFeatures]) -> float:
    """The share of frames that are read as the row that they show."""
    readings = [r.captions[0] for video in videos for r in bank.project(video, 0.01, top_k=1).readings]
    return sum(told == str(row) for row, told in enumerate(readings)) / len(readings)


def test_what_all_pictures_share_goes(bank: MemoryBank, videos: list[FrameFeatures]) -> None:
    shift = measure_shift(videos, bank)
    moved = [shift.move(video) for video in videos]
    assert all(m.space == "image" and len(m) == 5 for m in moved)
    before, after = (
        (centroid(bank.values) - centroid(torch.cat([v.values for v in some]))).square().sum()
        for some in (videos, moved)
    )
    assert after < 0.05 * before
    assert right(bank, videos) < 0.5 < 0.9 < right(bank, moved)
    torch.testing.assert_close(
        shift.offset.double(),
        bank.values.double().mean(0) - torch.cat([v.values for v in videos]).double().mean(0),
        atol=1e-6,
        rtol=0,
    )


def test_padding_is_neither_measured_nor_moved(bank: MemoryBank, videos: list[FrameFeatures]) -> None:
    padded = [video.resample(8) for video in videos]
    shift = measure_shift(padded, bank)
    torch.testing.assert_close(shift.offset, measure_shift(videos, bank).offset)
    moved = shift.move(padded[0])
    assert moved.values[5:].eq(0).all()
    torch.testing.assert_close(moved.values[:5], shift.move(videos[0]).values)


def test_few_videos_are_refused(bank: MemoryBank, videos: list[FrameFeatures]) -> None:
    empty = replace(videos[0], valid=torch.zeros(5, dtype=torch.bool))
    assert measure_shift(videos[:MIN_VIDEOS], bank).encoder == "clip"
    with pytest.raises(InputError, match="found 29 videos with frames; expected 30"):
        measure_shift([*videos[: MIN_VIDEOS - 1], empty], bank)


def test_features_of_another_kind_are_refused(bank: MemoryBank, videos: list[FrameFeatures]) -> None:
    shift = measure_shift(videos, bank)
    for wrong in (replace(videos[0], encoder="other"), replace(videos[0], space="text")):
        with pytest.raises(ArtifactMismatch):
            measure_shift([*videos, wrong], bank)
        with pytest.raises(ArtifactMismatch, match="images of clip"):
            shift.move(wrong)


def test_it_comes_back_from_the_disk(bank: MemoryBank, videos: list[FrameFeatures], tmp_path: Path) -> None:
    shift, path = measure_shift(videos, bank), tmp_path / "shift.safetensors"
    shift.save(path)
    again = MeanShift.load(path)
    assert torch.equal(again.offset, shift.offset)
    assert again.encoder == shift.encoder
    path.write_bytes(path.read_bytes()[:-8])
    for bad in (path, tmp_path / "none.safetensors"):
        with pytest.raises(ArtifactError, match="expected a mean shift"):
            MeanShift.load(bad)
