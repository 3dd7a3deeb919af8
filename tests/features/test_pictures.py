"""Folders of numbered pictures: sampled by time as videos are, gaps and broken pictures included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topa.core.errors import InputError, UsageError, VideoError
from topa.features.clips import Clip
from topa.features.decoding import decoders
from topa.features.pictures import sample_pictures
from topa.features.sources import ClipSource


def frames(folder: Path, numbers, name="{:05d}.jpg", size=(32, 24)) -> Path:
    """Pictures whose grey is their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", size, (number, number, number)).save(folder / name.format(number), quality=95)
    return folder


def greys(sampled) -> list[int]:
    return [int(np.asarray(picture)[0, 0, 0]) for picture in sampled.frames]


def test_centres_of_segments_of_the_whole(tmp_path) -> None:
    sampled = sample_pictures(frames(tmp_path / "v", range(1, 31)), 5, 3.0)
    assert greys(sampled) == [4, 10, 16, 22, 28]  # 10 s: 1, 3, 5, 7, 9 s are places 3, 9, ...
    assert sampled.times == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert not sampled.truncated
    info = sampled.info
    assert (info.width, info.height, info.duration_s, info.codec, info.frames) == (32, 24, 10.0, "jpeg", 30)


def test_a_part(tmp_path) -> None:
    folder = frames(tmp_path / "v", range(1, 31))
    assert greys(sample_pictures(folder, 3, 3.0, start=2.0, end=4.0)) == [8, 10, 12]
    assert greys(sample_pictures(folder, 2, 3.0, start=9.0, end=99.0)) == [28, 30]
    assert greys(sample_pictures(folder, 1, 3.0, end=0.2)) == [1]
    with pytest.raises(InputError, match="found a start of 10 s in a video of 10 s"):
        sample_pictures(folder, 2, 3.0, start=10.0)
    with pytest.raises(UsageError, match="expected 0 <= start < end"):
        sample_pictures(folder, 2, 3.0, start=3.0, end=3.0)


def test_where_a_picture_is_missing_the_one_before_it_is_shown(tmp_path) -> None:
    sampled = sample_pictures(frames(tmp_path / "v", [3, 4, 9, 10]), 10, 2.0)
    assert greys(sampled) == [3, 3, 3, 4, 4, 4, 4, 4, 9, 10]
    assert sampled.times == [1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 4.0, 4.5]
    assert (sampled.truncated, sampled.info.duration_s, sampled.info.frames) == (False, 5.0, 4)
    assert sampled.frames[0] is sampled.frames[2]


def test_a_count_from_zero(tmp_path) -> None:
    sampled = sample_pictures(frames(tmp_path / "v", range(4), "{}.png"), 4, 1.0)
    assert (greys(sampled), sampled.times) == ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0])


def test_a_broken_picture_is_left_out(tmp_path) -> None:
    folder = frames(tmp_path / "v", range(1, 5))
    whole = (folder / "00002.jpg").read_bytes()
    (folder / "00002.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "00003.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("not numbered")
    sampled = sample_pictures(folder, 4, 1.0)
    assert (greys(sampled), sampled.times, sampled.truncated) == ([1, 1, 1, 4], [0.0, 0.0, 0.0, 3.0], True)
    for path in folder.glob("*.jpg"):
        path.write_text("no picture")
    with pytest.raises(VideoError, match="found not one picture that can be read"):
        sample_pictures(folder, 4, 1.0)


def test_pictures_are_shrunk_and_never_enlarged(tmp_path) -> None:
    folder = frames(tmp_path / "v", [1], size=(64, 48))
    assert sample_pictures(folder, 1, 3.0, short_side=12).frames[0].size == (16, 12)
    assert sample_pictures(folder, 1, 3.0, short_side=96).frames[0].size == (64, 48)
    assert sample_pictures(folder, 1, 3.0, short_side=12).info.width == 64


def test_what_is_no_such_folder(tmp_path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, error, told in (
        ("gone", InputError, "gone: found nothing there; expected a folder of pictures"),
        ("file", InputError, "file: found a file; expected a folder of pictures"),
        ("empty", VideoError, "empty: found no numbered picture in it"),
    ):
        with pytest.raises(error, match=told):
            sample_pictures(tmp_path / name, 2, 3.0)
    for wrong in ({"fps": 0.0}, {"fps": float("nan")}, {"count": 0}, {"short_side": 0}):
        with pytest.raises(UsageError, match="expected positive numbers"):
            sample_pictures(tmp_path, **{"count": 2, "fps": 3.0, **wrong})


def test_processes_sample_them_the_same_way(tmp_path) -> None:
    folder = frames(tmp_path / "v", range(1, 31))
    clips = [Clip("part", str(folder), 2.0, 4.0, 3.0), Clip("gone", str(tmp_path / "gone"), fps=3.0)]
    with decoders(2) as pool:
        (_, part), (_, gone) = pool.ahead(clips, 3, 12)
        sampled, expected = part.result(), sample_pictures(folder, 3, 3.0, start=2.0, end=4.0, short_side=12)
        assert (sampled.times, sampled.info) == (expected.times, expected.info)
        assert greys(sampled) == greys(expected)
        with pytest.raises(VideoError, match="expected a folder of pictures"):
            gone.result()


def test_the_rate_tells_runs_apart_and_only_where_there_is_one() -> None:
    def told(**changes) -> object:
        return ClipSource([Clip("a", "/a", 1.0, 2.0, **changes)], [], 4, 1).config

    assert told() == told(fps=None)
    assert told(fps=3.0) != told()
    assert told(fps=3.0) != told(fps=5.0)
