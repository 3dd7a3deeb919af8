"""What a library hands to search and ask: the vectors of its videos, and of no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from topa.core.errors import ArtifactMismatch, InputError
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.library.contents import Contents, Video


def store(folder: Path, *lengths: int, first: int = 0, encoder: str = "clip") -> FeatureStore:
    writer = FeatureStoreWriter(folder, encoder, 8, "image", shard_rows=5)
    for number, length in enumerate(lengths, start=first):
        generator = torch.Generator().manual_seed(number)
        values = functional.normalize(torch.randn(length, 8, generator=generator), dim=-1)
        times = torch.arange(length, dtype=torch.float64)
        writer.add(FrameFeatures.image(values, encoder, times), f"id-{number}")
    return writer.close()


def video(number: int, frames: int, path: str = "") -> Video:
    return Video(f"id-{number}", path or f"v{number}.mp4", float(frames), frames)


def test_rows_are_those_of_the_videos(tmp_path):
    stores = [store(tmp_path / "a", 3, 4), store(tmp_path / "b", 2, 3, first=2)]
    contents = Contents(stores, [video(3, 3), video(0, 3, "z.mp4"), video(2, 2)], tmp_path)
    assert [v.path for v in contents.videos] == ["v2.mp4", "v3.mp4", "z.mp4"]
    assert (contents.encoder, contents.width, len(contents)) == ("clip", 8, 3)
    rows = list(contents.rows())
    assert np.concatenate([part.video for part in rows]).tolist() == [2] * 3 + [-1] * 4 + [0] * 2 + [1] * 3
    for number, own in enumerate(contents.videos):
        found = np.concatenate([part.values[part.video == number] for part in rows])
        torch.testing.assert_close(contents.features(own).values, torch.from_numpy(found).float(), atol=1e-3, rtol=0)
        times = np.concatenate([part.times[part.video == number] for part in rows])
        assert times.tolist() == contents.features(own).times.tolist()
    assert contents.file(contents.videos[0]) == tmp_path / "v2.mp4"


def test_what_is_refused(tmp_path):
    stores = [store(tmp_path / "a", 3), store(tmp_path / "b", 2, first=1, encoder="siglip")]
    with pytest.raises(ArtifactMismatch, match="siglip; expected one encoder"):
        Contents(stores, [video(0, 3)], tmp_path)
    with pytest.raises(InputError, match=r"v5\.mp4: found no features"):
        Contents(stores[:1], [video(5, 3)], tmp_path)
