"""The verb: Tideos and video files become stores; one bad file stops nothing."""

from __future__ import annotations

import pytest
import torch

from topa.core.errors import ArtifactError, InputError, UsageError, VideoError
from topa.features.encode import encode_tideos, encode_video, encode_videos
from topa.features.store import FeatureStore
from topa.features.video import sample_frames
from topa.tideos.tideo import TextFrame, Tideo

from .clips import read_barcode, steady, write_video


def tideo(name: str, *frames: tuple[str, ...]) -> Tideo:
    return Tideo(
        id=name, frames=tuple(TextFrame(caption=first, objects=rest) for first, *rest in frames), description="it moves"
    )


TIDEOS = [
    tideo("one", ("a red ball rolls", "a red ball"), ("a ball falls down",)),
    tideo("two", ("a person walks", "a person", "blue box"), ("a person stands",), ("a red ball rolls", "a red ball")),
]


def test_each_frame_is_the_mean_of_its_captions(clip, tmp_path):
    store = encode_tideos(TIDEOS, clip, tmp_path, parents={"tideos": "abc"}, show=False)
    assert FeatureStore.open(tmp_path).expect(clip.identity, "text").manifest.parents == {"tideos": "abc"}
    assert store.manifest.config == {"space": "text", "fusion": "mean", "cut_captions": 0}
    for one in TIDEOS:
        rows = []
        for frame in one.frames:
            mean = clip.encode_texts([frame.caption, *frame.objects]).mean(0)
            rows.append(mean / mean.norm())
        found = store[one.id]
        assert found.times is None
        assert torch.allclose(found.values, torch.stack(rows), atol=1e-3)
    assert torch.equal(store["one"].values[0], store["two"].values[2])


def test_captions_alone(clip, tmp_path):
    store = encode_tideos(iter(TIDEOS), clip, tmp_path, fusion="caption", show=False)
    captions = [frame.caption for frame in TIDEOS[1].frames]
    assert torch.allclose(store["two"].values, clip.encode_texts(captions), atol=1e-3)


def test_cut_captions_are_told(clip, tmp_path):
    long = tideo("long", (" ".join(["a red ball rolls left"] * 9),))
    assert encode_tideos([*TIDEOS, long], clip, tmp_path, show=False).manifest.config["cut_captions"] == 1


def test_tideos_that_cannot_be_encoded(clip, tmp_path):
    with pytest.raises(InputError, match="'one' twice"):
        encode_tideos([TIDEOS[0], TIDEOS[0]], clip, tmp_path, show=False)
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        encode_tideos(TIDEOS, clip, tmp_path, fusion="meen", show=False)


def test_one_video(clip, long_gop):
    encoded = encode_video(long_gop, clip, 4)
    sampled = sample_frames(long_gop, 4)
    assert encoded.features.space == "image"
    assert encoded.features.times.tolist() == sampled.times
    assert torch.allclose(encoded.features.values, clip.encode_images(sampled.frames), atol=1e-6)
    assert [read_barcode(picture) for picture in encoded.images] == [25, 75, 125, 175]
    assert encode_video(long_gop, clip, 1, start=4, end=6).features.times.tolist() == [5.0]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_bad_video_stops_nothing(clip, tmp_path, long_gop, workers):
    text, missing = tmp_path / "text.mp4", tmp_path / "missing.mp4"
    text.write_text("no video at all")
    short = write_video(tmp_path / "short.mp4", steady(20))
    cut = tmp_path / "cut.mkv"
    whole = write_video(tmp_path / "whole.mkv", steady(200), options={"g": "20"}).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    paths = [text, long_gop, missing, short, cut]
    store = encode_videos(paths, clip, tmp_path / "store", frames=3, show=False, workers=workers)
    assert list(store) == [str(long_gop), str(short), str(cut)]
    failed = store.manifest.config["failed"]
    assert list(failed) == [str(text), str(missing)]
    assert "not a video" in failed[str(text)]
    assert "found nothing there" in failed[str(missing)]
    assert store.manifest.config["truncated"] == [str(cut)]
    assert torch.allclose(store[str(short)].values, encode_video(short, clip, 3).features.values, atol=1e-3)
    assert store[str(short)].times.tolist() == sample_frames(short, 3).times


def test_videos_under_names(clip, tmp_path, long_gop):
    store = encode_videos({"v1": long_gop}, clip, tmp_path / "store", frames=2, show=False)
    assert list(FeatureStore.open(tmp_path / "store").expect(clip.identity, "image")) == ["v1"]
    assert len(store["v1"]) == 2


def test_videos_that_cannot_be_encoded(clip, tmp_path, long_gop):
    out = tmp_path / "store"
    with pytest.raises(VideoError, match="none of 1 videos"):
        encode_videos([tmp_path / "missing.mp4"], clip, out, frames=2, show=False)
    with pytest.raises(ArtifactError, match="unfinished"):
        FeatureStore.open(out)
    with pytest.raises(InputError, match="found twice"):
        encode_videos([long_gop, long_gop], clip, out, frames=2, show=False)
    with pytest.raises(InputError, match="found no video"):
        encode_videos([], clip, out, frames=2, show=False)
    with pytest.raises(UsageError, match="workers=0"):
        encode_videos([long_gop], clip, out, frames=2, workers=0, show=False)
