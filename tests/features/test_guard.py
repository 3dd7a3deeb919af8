"""Files of strangers: what is more than the guard allows is refused in words, and the process can do no more."""

from __future__ import annotations

import os
import re
import resource
import signal
import socketserver
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from topa.core.errors import VideoError
from topa.features.clips import Clip
from topa.features.container import VideoFile
from topa.features.decoding import Decoders, Guard, _Deadline
from topa.features.guard import THREADS
from topa.features.video import SampledVideo, sample_frames

from .clips import HEIGHT, WIDTH, steady, write_video
from .hostile import belittle, claiming, compressed_index, giant, many, playlists, refer

GUARD = Guard(seconds=60, memory=2 << 30, longest=3600, pixels=4096 * 2304)


@pytest.fixture
def pool():
    made = Decoders(1, GUARD)
    yield made
    made.close()


@pytest.fixture
def good(tmp_path) -> Path:
    return write_video(tmp_path / "good.mp4", steady(25), options={"preset": "veryfast"})


def decode(pool: Decoders, path: Path, frames: int = 3) -> SampledVideo:
    return pool.submit(Clip("clip", str(path)), frames).result()


def plain(path: Path, size: tuple[int, int], count: int, codec: str = "libx264", **options: str) -> Path:
    """A grey video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.full((size[1] * 3 // 2, size[0]), 128, np.uint8), "yuv420p")
        for number in range(count):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def refusal(guard: Guard, path: Path) -> str:
    """What a pool with this guard says of a file."""
    pool = Decoders(1, guard)
    try:
        with pytest.raises(VideoError) as refused:
            decode(pool, path)
    finally:
        pool.close()
    return str(refused.value)


def test_guarded_frames_are_those_without_a_guard(pool, good) -> None:
    found, expected = decode(pool, good), sample_frames(good, 3)
    assert (found.times, found.info) == (expected.times, expected.info)
    for picture, other in zip(found.frames, expected.frames, strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(other))


def test_limits_are_the_last_that_is_allowed(good) -> None:
    exact = replace(GUARD, longest=1.0, pixels=WIDTH * HEIGHT)
    pool = Decoders(1, exact)
    assert len(decode(pool, good).frames) == 3
    pool.close()
    told = refusal(replace(exact, longest=0.96), good)
    assert "found a video of 1.0 s; expected at most 0.96 s. Cut it into parts" in told
    told = refusal(replace(exact, pixels=WIDTH * HEIGHT - 1), good)
    assert f"found pictures of {WIDTH} x {HEIGHT} pixels; expected at most {WIDTH * HEIGHT - 1} pixels" in told


def test_pictures_that_become_larger_than_the_header_said(tmp_path) -> None:
    growing = tmp_path / "growing.ts"
    with av.open(str(growing), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 64
        for start, width in ((0, 64), (50, 512)):
            plain(tmp_path / "part.ts", (width, 64), 50)
            with av.open(str(tmp_path / "part.ts")) as part:
                for packet in part.demux():
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + start * 3600, packet.dts + start * 3600
                        packet.stream = stream
                        container.mux(packet)
    pool = Decoders(1, GUARD)
    assert [picture.size for picture in decode(pool, growing, 2).frames] == [(64, 64), (512, 64)]
    pool.close()
    told = refusal(replace(GUARD, pixels=64 * 64), growing)
    assert "found pictures of 512 x 64 pixels" in told


def test_a_video_that_takes_too_long_is_ended_and_the_next_one_decoded(pool, good) -> None:
    assert len(decode(pool, good).frames) == 3
    (process,) = pool._alive
    process._guard = replace(GUARD, seconds=0.2)  # not the one of the message
    os.kill(process._process.pid, signal.SIGSTOP)
    with pytest.raises(VideoError, match=r"good\.mp4: decoding it took longer than 60 s, and was ended"):
        decode(pool, good)
    assert process not in pool._alive
    assert len(decode(pool, good).frames) == 3


def test_a_process_killed_after_its_last_word_is_not_used_again(pool, good, monkeypatch) -> None:
    asked = type(pool)._decode.__globals__["_Process"]._ask

    def answer_and_be_late(process, *request):
        sampled = asked(process, *request)
        process.late = True
        process.kill()
        return sampled

    monkeypatch.setattr("topa.features.decoding._Process._ask", answer_and_be_late)
    with pytest.raises(VideoError, match="took longer"):
        decode(pool, good)
    monkeypatch.undo()
    assert len(decode(pool, good).frames) == 3


def test_ordinary_4k_fits_into_two_gib_and_not_into_a_tenth(pool, tmp_path) -> None:
    large = plain(tmp_path / "4k.mp4", (4096, 2304), 8, bf="3", refs="4")
    assert decode(pool, large, 4).frames[3].size == (4096, 2304)
    assert "more memory" in refusal(replace(GUARD, memory=200 << 20), large)


def test_the_process_is_bound_and_knows_no_secrets(pool, good, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    decode(pool, good)
    (process,) = pool._alive
    own = Path(f"/proc/{process._process.pid}")
    assert b"secret" not in (own / "environ").read_bytes()
    limits = dict(re.findall(r"^Max (.+?)  +(\d+)", (own / "limits").read_text(), re.MULTILINE))
    assert limits["address space"] == str(2 << 30)
    assert limits["file size"] == limits["core file size"] == "0"
    assert 200 < int(limits["cpu time"]) < 400


def test_time_on_the_processor_is_counted_anew_for_each_video(monkeypatch) -> None:
    spent = SimpleNamespace(ru_utime=1000.0, ru_stime=200.0)
    monkeypatch.setattr("resource.getrusage", lambda _: spent)
    allowed = []
    monkeypatch.setattr("resource.setrlimit", lambda kind, limits: allowed.append((kind, limits[0])))
    replace(GUARD, seconds=1).meter()
    assert allowed == [(resource.RLIMIT_CPU, 1200 + THREADS)]


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_file_that_is_opened_again_is_guarded_again(tmp_path, name) -> None:
    with VideoFile(write_video(tmp_path / name, steady(5), unit=Fraction(1, 25)), GUARD) as file:
        file._reopen()
        assert file.stream.codec_context.thread_count == THREADS


def test_a_deadline_that_was_met_strikes_nobody(pool, good) -> None:
    decode(pool, good)
    (process,) = pool._alive
    deadline = _Deadline(60, process)
    with deadline:
        pass
    deadline._strike()
    assert not process.late
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):
            timer.join(10)
            assert not timer.is_alive(), "it waits for a video that is done"


def test_a_folder_of_pictures_is_not_a_strangers_video(pool, tmp_path) -> None:
    with pytest.raises(VideoError, match="found a folder"):
        pool.submit(Clip("clip", str(tmp_path), fps=1.0), 2).result()


# --- files that name others


@pytest.fixture
def web():
    came = []
    server = socketserver.TCPServer(("127.0.0.1", 0), type("Seen", (socketserver.BaseRequestHandler,), {}))
    server.verify_request = lambda request, address: came.append(address)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/video.ts", came
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", playlists(""))
def test_files_that_name_others_are_refused_before_these_are_opened(pool, web, tmp_path, kind) -> None:
    os.mkfifo(tmp_path / "pipe.ts")  # whoever opens it waits, until the guard kills him
    os.symlink("pipe.ts", tmp_path / "evil.sub")
    os.symlink("pipe.ts", tmp_path / "ASSETMAP.xml")
    address, came = web
    for target in ("pipe.ts", str(tmp_path / "pipe.ts"), f"file:{tmp_path}/pipe.ts", address):
        for suffix in ("", ".mp4", f".{kind}"):
            evil = tmp_path / f"evil{suffix}"
            evil.write_text(playlists(target)[kind])
            with pytest.raises(VideoError, match="not a video"):
                decode(pool, evil)
    assert not came
    assert len(pool._alive) == 1, "none was killed"


def test_a_movie_whose_pictures_lie_in_another_file(pool, tmp_path) -> None:
    other = write_video(tmp_path / "other.mov", steady(25))
    evil = tmp_path / "evil.mov"
    evil.write_bytes(refer(other.read_bytes(), other))
    with av.open(str(evil), options={"enable_drefs": "1", "use_absolute_path": "1"}) as followed:
        assert len(list(followed.decode(video=0))) == 25, "it is one, for who follows"
    with pytest.raises(VideoError, match="found not one whole video packet"):
        decode(pool, evil)


# --- bombs


def peak(pool: Decoders) -> int:
    """Bytes of address space that its one process ever had."""
    (process,) = pool._alive
    return 1024 * int(re.search(r"VmPeak:\s+(\d+)", Path(f"/proc/{process._process.pid}/status").read_text())[1])


@pytest.mark.parametrize("header", ["honest", "honest before a broken picture", "lying"])
def test_giant_pictures_in_a_small_file(pool, tmp_path, header) -> None:
    bomb = giant(tmp_path / "bomb.avi", 8000)
    if header == "lying":
        belittle(bomb, 64)
    elif header != "honest":
        bomb.write_bytes(bomb.read_bytes().replace(b"IDAT", b"IDXT"))
    assert bomb.stat().st_size < 20_000
    with pytest.raises(VideoError, match="found pictures of 8000 x 8000 pixels; expected at most 9437184"):
        decode(pool, bomb)
    assert peak(pool) < 300 << 20


def test_hours_in_a_small_file(pool, tmp_path) -> None:
    gap = write_video(tmp_path / "gap.mp4", [Fraction(0), Fraction(36_000)])
    with pytest.raises(VideoError, match=r"found a video of 36000\.0 s; expected at most 3600 s"):
        decode(pool, gap)


def test_a_million_frames_within_an_hour(tmp_path) -> None:
    bomb = many(tmp_path / "bomb.avi", 1_000_000, 400)
    assert "took longer than 1 s" in refusal(replace(GUARD, seconds=1), bomb)


def test_a_million_frames_in_more_than_an_hour(pool, tmp_path) -> None:
    with pytest.raises(VideoError, match=r"found a video of 4000\.0 s"):
        decode(pool, many(tmp_path / "bomb.avi", 100_000, 25))


def test_headers_that_have_memory_reserved(pool, good, tmp_path) -> None:
    for name, data in {
        "samples.mp4": claiming(good.read_bytes(), 0xFFFFFFFF),
        "index.mov": compressed_index(0xFFFFFF00),
        "packed.mov": compressed_index(50 << 20),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(VideoError, match=name):
            decode(pool, tmp_path / name)
    assert peak(pool) < 300 << 20
    assert len(decode(pool, good).frames) == 3


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGABRT, signal.SIGXCPU])
def test_a_decoder_that_crashes_at_a_video(pool, good, sign) -> None:
    decode(pool, good)
    (process,) = pool._alive
    os.kill(process._process.pid, signal.SIGSTOP)
    asked = pool.submit(Clip("clip", str(good)), 3)
    os.kill(process._process.pid, sign)
    os.kill(process._process.pid, signal.SIGCONT)
    with pytest.raises(VideoError, match=rf"good\.mp4: the process that decoded it died \(signal {sign.name}\)"):
        asked.result()
    assert len(decode(pool, good).frames) == 3
