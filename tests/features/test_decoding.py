"""Decoding in processes: the same frames, and a process that dies takes only its video along."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from topa.core.errors import VideoError
from topa.features.clips import Clip
from topa.features.decoding import Decoders, decoders
from topa.features.video import sample_frames

from .clips import read_barcode, steady, write_video


def clips(folder: Path, count: int) -> list[Clip]:
    paths = [write_video(folder / f"{n}.mp4", steady(20 + n), options={"preset": "veryfast"}) for n in range(count)]
    return [Clip(path.name, str(path)) for path in paths]


def alive(pool: Decoders) -> set[int]:
    return {process._process.pid for process in pool._alive}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_frames_are_those_of_this_process(tmp_path, long_gop, workers) -> None:
    asked = [*clips(tmp_path, 4), Clip("part", str(long_gop), 4.0, 6.0)]
    with decoders(workers) as pool:
        found = [(clip, decoding.result()) for clip, decoding in pool.ahead(asked, 5)]
    assert [clip for clip, _ in found] == asked
    for clip, sampled in found:
        expected = sample_frames(clip.path, 5, start=clip.start, end=clip.end)
        assert (sampled.times, sampled.truncated, sampled.info) == (expected.times, False, expected.info)
        for picture, other in zip(sampled.frames, expected.frames, strict=True):
            assert np.array_equal(np.asarray(picture), np.asarray(other))


def test_a_frame_that_is_shown_again_is_the_same(tmp_path) -> None:
    one = write_video(tmp_path / "one.mp4", steady(1))
    with decoders(1) as pool:
        ((_, decoding),) = pool.ahead([Clip("one", str(one))], 3)
        first, *others = decoding.result().frames
        assert read_barcode(first) == 0
        assert all(other is first for other in others)


def test_bad_videos_say_what_is_wrong_and_their_process_goes_on(tmp_path) -> None:
    (good,) = clips(tmp_path, 1)
    (tmp_path / "text.mp4").write_text("no video")
    asked = [Clip(name, str(tmp_path / name)) for name in ("text.mp4", "gone.mp4", "\udcff.mp4")]
    with decoders(1) as pool:
        *bad, (_, last) = pool.ahead([*asked, Clip("late", good.path, 99.0), good], 2)
        for (_, decoding), told in zip(
            bad, ("not a video", "nothing there", "nothing there", "start of 99"), strict=True
        ):
            with pytest.raises(VideoError, match=told):
                decoding.result()
        assert len(last.result().frames) == 2
        assert len(alive(pool)) == 1


def test_a_process_that_dies_takes_its_video_along(tmp_path) -> None:
    first, second, third = clips(tmp_path, 3)
    with decoders(1) as pool:
        assert len(next(pool.ahead([first], 2))[1].result().frames) == 2
        (process,) = pool._alive
        process.kill()
        ((_, died),) = pool.ahead([second], 2)
        with pytest.raises(VideoError, match=r"1\.mp4: the process that decoded it died \(signal SIGKILL\)"):
            died.result()
        ((_, well),) = pool.ahead([third], 2)
        assert len(well.result().frames) == 2
        assert process not in pool._alive


def test_processes_that_cannot_even_start(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with decoders(1) as pool:
        for _, decoding in pool.ahead(clips(tmp_path, 2), 2):
            with pytest.raises(VideoError, match=r"\.mp4: the process that decoded it died \(exit code 1\)"):
                decoding.result()
        assert not pool._alive


def test_no_process_outlives_the_block(tmp_path) -> None:
    with decoders(2) as pool:
        for _, decoding in pool.ahead(clips(tmp_path, 3), 2):
            decoding.result()
        running = alive(pool)
    assert len(running) == 2
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_waits_is_given_up_with_the_block(tmp_path) -> None:
    with decoders(1) as pool:
        ahead = pool.ahead(clips(tmp_path, 4), 2)
        next(ahead)
        running = alive(pool)
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
