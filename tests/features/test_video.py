"""Sampling is exact, and bad files are answered."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from topa.core.errors import InputError, UsageError, VideoError
from topa.features import video
from topa.features.container import VideoFile
from topa.features.video import probe, sample_frames

from .clips import HEIGHT, WIDTH, read_barcode, steady, write_video

LONG_GOP = {"g": "60", "keyint_min": "60", "sc_threshold": "0", "bf": "3", "preset": "veryfast"}


def indices(path: Path, count: int, **kwargs) -> list[int]:
    return [read_barcode(picture) for picture in sample_frames(path, count, **kwargs).frames]


def everything(path: Path) -> list[tuple[Fraction, Image.Image]]:
    """The oracle: decode all, look afterwards."""
    with av.open(str(path)) as container:
        frames = [(frame.pts * frame.time_base, frame.to_image()) for frame in container.decode(video=0)]
    first = frames[0][0]
    return [(time - first, picture) for time, picture in frames]


def shown(frames: list[tuple[Fraction, Image.Image]], time: Fraction) -> tuple[Fraction, Image.Image]:
    return [frame for frame in frames if frame[0] <= time][-1] if time >= 0 else frames[0]


@pytest.mark.parametrize("count", [1, 3, 10, 37])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", LONG_GOP),
        ("a.mp4", {"g": "250", "bf": "3"}),
        ("a.mp4", {"g": "1"}),
        ("a.mp4", {"g": "40", "x264-params": "open-gop=1:bframes=3:b-adapt=0"}),
        ("a.mkv", LONG_GOP),
        ("a.ts", LONG_GOP),
        ("a.mov", {"g": "12", "bf": "2"}),
    ],
)
def test_adaptive_seeking_gives_what_decoding_everything_gives(tmp_path, name, options, count):
    path = write_video(tmp_path / name, steady(200), options={"preset": "veryfast", **options})
    oracle = everything(path)
    sampled = sample_frames(path, count)
    assert not sampled.truncated
    assert sampled.info.duration_s == pytest.approx(8, abs=0.002)
    end = Fraction(sampled.info.duration_s).limit_denominator(100000)
    for k, (picture, time) in enumerate(zip(sampled.frames, sampled.times, strict=True)):
        expected = shown(oracle, end * (2 * k + 1) / (2 * count))
        assert time == pytest.approx(float(expected[0]), abs=1e-6)
        assert np.array_equal(np.asarray(picture), np.asarray(expected[1]))


@pytest.mark.parametrize("codec", ["libx265", "libvpx-vp9", "mpeg4"])
def test_other_codecs_are_as_exact(tmp_path, codec):
    options = {"libx265": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=40:open-gop=1:bframes=3"}}
    path = tmp_path / ("a.webm" if codec == "libvpx-vp9" else "a.mp4")
    write_video(path, steady(100), codec=codec, options=options.get(codec, {"g": "40", "deadline": "realtime"}))
    for start in (None, 0.31, 1.62, 2.41, 3.3):
        sampled = sample_frames(path, 4, start=start)
        assert [round(time * 25) for time in sampled.times] == [read_barcode(picture) for picture in sampled.frames]


def test_it_seeks_over_whole_groups_of_pictures(long_gop, monkeypatch):
    decoded = []
    original = video._FrameDecoder._decode

    def counted(self, **kwargs):
        for item in original(self, **kwargs):
            decoded.append(item[0])
            yield item

    monkeypatch.setattr(video._FrameDecoder, "_decode", counted)
    assert indices(long_gop, 1, start=7.4, end=7.5) == [186]
    assert len(decoded) <= 9


def test_after_a_jump_between_keyframes_nothing_is_trusted(tmp_path):
    path = write_video(tmp_path / "a.ts", steady(120), codec="mpeg4", options={"g": "40"}, unit=Fraction(1, 25))
    with VideoFile(path) as file:
        clock = file.timeline
        target = clock.start + int(2 / clock.unit)
        assert file.seek(target)  # lands on frame 50, which is built on others
        when, frame = next(video._FrameDecoder(file)._decode(trusted=False))
        assert read_barcode(frame.to_image()) == round((when - clock.start) * clock.unit * 25) == 80
        decoder = video._FrameDecoder(file)
        decoder._jump(target)
        when, frame = decoder.shown_at(target)
        assert read_barcode(frame.to_image()) == round((when - clock.start) * clock.unit * 25) == 50


def test_variable_frame_rate_goes_by_time_and_not_by_index(tmp_path):
    times = [Fraction(0), Fraction(1, 10), Fraction(2, 10), Fraction(4), Fraction(9), Fraction(91, 10), Fraction(10)]
    path = write_video(tmp_path / "vfr.mp4", times, options={"bf": "2"})
    sampled = sample_frames(path, 5, start=0, end=10)
    assert [read_barcode(picture) for picture in sampled.frames] == [2, 2, 3, 3, 4]
    assert sampled.times == [0.2, 0.2, 4.0, 4.0, 9.0]
    assert sampled.info.duration_s >= 10


def test_a_target_on_the_first_tick_of_a_frame_shows_that_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(100, 10), unit=Fraction(1, 10))
    assert indices(path, 10) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert indices(path, 1, start=0.2, end=0.4) == [3]


@pytest.mark.parametrize("name", ["a.ts", "a.mp4"])
def test_the_clock_may_start_anywhere(tmp_path, name):
    path = write_video(tmp_path / name, [time + 100 for time in steady(50)], options={"bf": "2"})
    with av.open(str(path)) as container:
        moved = container.streams.video[0].start_time
    assert moved > 0
    sampled = sample_frames(path, 5)
    assert [read_barcode(picture) for picture in sampled.frames] == [5, 15, 25, 35, 45]
    assert sampled.times == pytest.approx([0.2, 0.6, 1.0, 1.4, 1.8])


@pytest.mark.parametrize(("rotation", "turned"), [(90, -1), (-90, 1), (180, 2)])
def test_pictures_stand_upright(tmp_path, rotation, turned):
    path = write_video(tmp_path / "turned.mp4", steady(30), rotation=rotation, turned=turned)
    sampled = sample_frames(path, 3)
    assert {picture.size for picture in sampled.frames} == {(WIDTH, HEIGHT)}
    assert [read_barcode(picture) for picture in sampled.frames] == [5, 15, 25]
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (WIDTH, HEIGHT, rotation % 360)
    assert sample_frames(path, 1, short_side=48).frames[0].size == (96, 48)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "options"),
    [
        ("libx264", "yuv420p10le", {}),
        ("libx264", "yuv444p", {}),
        ("libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
    ],
)
def test_ten_bits_and_full_chroma(tmp_path, codec, pix_fmt, options):
    path = write_video(tmp_path / "deep.mp4", steady(40), codec=codec, pix_fmt=pix_fmt, options=options)
    sampled = sample_frames(path, 4)
    assert [read_barcode(picture) for picture in sampled.frames] == [5, 15, 25, 35]
    assert {picture.mode for picture in sampled.frames} == {"RGB"}


def test_a_video_of_one_frame_shows_it_at_every_target(tmp_path):
    path = write_video(tmp_path / "one.mp4", steady(1))
    sampled = sample_frames(path, 4)
    assert sampled.times == [0.0] * 4
    assert [read_barcode(picture) for picture in sampled.frames] == [0] * 4
    assert not sampled.truncated
    assert probe(path).duration_s > 0


def test_longer_sound_does_not_stretch_the_video(tmp_path):
    path = write_video(tmp_path / "sound.mkv", steady(50), audio_s=6)
    sampled = sample_frames(path, 2)
    assert [read_barcode(picture) for picture in sampled.frames] == [12, 37]
    assert not sampled.truncated


def test_small_pictures_on_request(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(10))
    small, large = sample_frames(path, 1, short_side=48), sample_frames(path, 1, short_side=4000)
    assert small.frames[0].size == (96, 48)
    assert large.frames[0].size == (WIDTH, HEIGHT)
    assert read_barcode(small.frames[0]) == 5
    assert (small.info.width, small.info.height) == (WIDTH, HEIGHT)


def test_probe_tells_what_the_file_is(long_gop):
    info = probe(long_gop)
    assert (info.width, info.height, info.rotation, info.codec, info.frames) == (WIDTH, HEIGHT, 0, "h264", 200)
    assert info.duration_s == pytest.approx(8)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.mark.parametrize(
    ("name", "mux"),
    [
        ("a.mp4", {"movflags": "faststart"}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", {}),
    ],
)
def test_a_cut_file_gives_what_it_has(tmp_path, name, mux):
    path = write_video(tmp_path / name, steady(200), options=LONG_GOP, mux=mux)
    whole = sample_frames(path, 6)
    assert not whole.truncated
    assert indices(path, 4) == [25, 75, 125, 175]
    sampled = sample_frames(cut(path, 0.6), 6)
    found = [read_barcode(picture) for picture in sampled.frames]
    assert [round(time * 25) for time in sampled.times] == found
    assert sampled.info.duration_s < 7
    assert found == sorted(set(found))
    assert found[-1] > 60
    if mux != {"movflags": "frag_keyframe+empty_moov"}:  # its header claims no length: nothing seems to be missing
        assert sampled.truncated


def test_damage_in_the_middle_is_survived_and_told(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(200), options=LONG_GOP, mux={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = bytes(np.random.default_rng(0).integers(0, 256, 6000, dtype=np.uint8))
    path.write_bytes(data)
    sampled = sample_frames(path, 8)
    assert len(sampled.frames) == 8
    assert sampled.truncated
    assert read_barcode(sampled.frames[0]) == 12
    assert sampled.times == sorted(sampled.times)


def test_a_header_that_claims_too_much_is_not_believed(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(50), unit=Fraction(1, 25))
    data = bytearray(path.read_bytes())
    for atom, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        offset = data.index(atom) + at
        data[offset : offset + 4] = (int.from_bytes(data[offset : offset + 4], "big") * 10).to_bytes(4, "big")
    path.write_bytes(data)
    assert indices(path, 5) == [5, 15, 25, 35, 45]


def test_a_range_of_time(long_gop):
    assert indices(long_gop, 2, start=4, end=6) == [112, 137]
    assert indices(long_gop, 2, start=4, end=1000) == [125, 175]
    assert indices(long_gop, 1, end=2) == [25]


def test_a_link_is_followed(tmp_path, long_gop):
    link = tmp_path / "link.mp4"
    link.symlink_to(long_gop)
    assert indices(link, 1) == [100]


@pytest.mark.parametrize(
    ("kwargs", "kind", "words"),
    [
        ({"count": 0}, UsageError, "count=0"),
        ({"count": 1, "short_side": 0}, UsageError, "short_side=0"),
        ({"count": 1, "start": -1}, UsageError, "start=-1"),
        ({"count": 1, "start": 2, "end": 2}, UsageError, "start < end"),
        ({"count": 1, "start": 8}, InputError, "video of 8 s"),
    ],
)
def test_impossible_requests(long_gop, kwargs, kind, words):
    with pytest.raises(kind, match=words):
        sample_frames(long_gop, **kwargs)


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("missing.mp4", None, InputError, "found nothing there"),
        ("empty.mp4", b"", VideoError, "empty file"),
        ("text.mp4", b"once upon a time there was a text\n" * 50, VideoError, "not a video"),
        ("notes.txt", b"once upon a time there was a text\n" * 50, VideoError, "kind 'tty'|not a video"),
        ("list.mp4", b"ffconcat version 1.0\nfile 'long.mp4'\n", VideoError, "kind 'concat'|not a video"),
        ("elsewhere.mp4", b"ffconcat version 1.0\nfile '/dev/null'\n", VideoError, "not a video"),
        ("noise.mp4", bytes(range(256)) * 64, VideoError, "not a video|streams only"),
    ],
)
def test_bad_files(long_gop, name, content, kind, words):
    path = long_gop.with_name(name)
    if content is not None:
        path.write_bytes(content)
    for call in (lambda: probe(path), lambda: sample_frames(path, 2)):
        with pytest.raises(kind, match=words) as caught:
            call()
        assert str(path) in str(caught.value)
        assert "expected" in str(caught.value)


def test_a_title_in_another_encoding(tmp_path):
    path = write_video(tmp_path / "titled.mkv", steady(5))
    with av.open(str(path)) as plain, av.open(str(tmp_path / "Ferien.mkv"), "w") as titled:
        titled.metadata["title"] = "Ferien"
        stream = titled.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = stream
                titled.mux(packet)
    latin = (tmp_path / "Ferien.mkv").read_bytes().replace(b"Ferien", "Férien".encode("latin-1"))
    path.write_bytes(latin)
    assert len(sample_frames(path, 2).frames) == 2


def test_a_folder_and_sound_alone(tmp_path):
    with pytest.raises(InputError, match="found a folder"):
        probe(tmp_path)
    path = write_video(tmp_path / "sound.mp4", [], audio_s=1)
    with pytest.raises(VideoError, match="found audio streams only"):
        sample_frames(path, 2)


def test_a_header_without_pictures(tmp_path):
    path = write_video(tmp_path / "a.mp4", steady(50), mux={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 8])
    with pytest.raises(VideoError, match="expected at least one frame"):
        sample_frames(path, 2)
