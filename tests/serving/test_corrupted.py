"""200 corrupted videos, uploaded and decoded as a server does it: each fails alone, or not at all."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import httpx2
import pytest
from tests.features.clips import steady, write_video

from topa.core.errors import VideoError
from topa.features.clips import Clip
from topa.features.decoding import Decoders, Guard
from topa.serving.settings import ServerLimits
from topa.serving.uploads import Upload, Uploads

from .running import running

VIDEOS = 200
KINDS = {
    "mp4": ("libx264", {"preset": "ultrafast"}),
    "webm": ("libvpx", {"cpu-used": "8", "deadline": "good"}),
    "avi": ("mpeg4", {}),
    "ts": ("mpeg2video", {}),
    "mkv": ("libx264", {"preset": "ultrafast", "bf": "3"}),
}


def corrupted(whole: bytes, dice: random.Random) -> bytes:
    """Bits flipped anywhere or in the header, a part overwritten, left out or emptied, the end or the beginning cut."""
    data = bytearray(whole)
    way = dice.randrange(7)
    place = dice.randrange(len(data))
    some = slice(place, place + dice.randrange(1, 2000))
    if way < 2:
        reach = len(data) if way else min(2000, len(data))
        for _ in range(dice.choice((1, 5, 50, 500))):
            data[dice.randrange(reach)] ^= 1 << dice.randrange(8)
    elif way == 2:
        data[some] = dice.randbytes(len(data[some]))
    elif way == 3:
        data[some] = bytes(len(data[some]))
    elif way == 4:
        del data[some]
    elif way == 5:
        del data[place:]
    else:
        del data[:place]
    return bytes(data)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 4096):
        yield data[start : start + 4096]


def outcome(pool: Decoders, upload: Upload) -> str:
    try:
        sampled = pool.submit(Clip(upload.id, str(upload.path)), 4).result()
    except VideoError as error:
        return "decoder ended" if " died " in str(error) or " took longer " in str(error) else "refused"
    assert len(sampled.frames) == len(sampled.times) == 4
    return "decoded in part" if sampled.truncated else "decoded whole"


@pytest.fixture
def whole(tmp_path) -> dict[str, bytes]:
    return {
        kind: write_video(
            tmp_path / f"whole.{kind}",
            steady(25),
            codec=codec,
            options=options,
            unit=Fraction(1, 25),
            mux={"fflags": "+bitexact"},  # no numbers by chance
        ).read_bytes()
        for kind, (codec, options) in KINDS.items()
    }


def test_two_hundred_corrupted_videos_take_nothing_along(whole, tmp_path) -> None:
    uploads = Uploads(tmp_path / "uploads", ServerLimits())
    limits = ServerLimits()
    guard = Guard(limits.decode_seconds, limits.decode_memory, limits.seconds, limits.pixels)
    pool = Decoders(1, guard)
    found: Counter[str] = Counter()
    for number in range(VIDEOS):
        data = corrupted(whole[list(KINDS)[number % len(KINDS)]], random.Random(number))
        upload = asyncio.run(uploads.receive(chunks(data), "video"))
        found[outcome(pool, upload)] += 1
        uploads.remove(upload.id)
    good = [asyncio.run(uploads.receive(chunks(data), "good")) for data in whole.values()]
    assert [outcome(pool, upload) for upload in good] == ["decoded whole"] * len(KINDS)
    running = [process._process.pid for process in pool._alive]
    assert len(running) == 1
    pool.close()
    uploads.close()
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not list(Path(tmp_path, "uploads").iterdir())
    assert found.total() == VIDEOS
    assert {"decoded whole", "decoded in part", "refused"} <= set(found), "too mild, or too much"
    print(f"{VIDEOS} corrupted videos: " + ", ".join(f"{count} {how}" for how, count in found.most_common()))


def test_two_hundred_corrupted_uploads_are_answered(whole, engine) -> None:
    """Over HTTP, several at a time: each is taken or refused in words, and the server goes on."""
    found: Counter[int] = Counter()

    def post(data: bytes) -> int:
        reply = client.post("/v1/videos", files={"file": ("clip.mp4", data)})
        if reply.status_code != 201:
            error = reply.json()["error"]
            assert error["message"]
            assert "/tmp" not in error["message"]
            assert "Traceback" not in error["message"]
        return reply.status_code

    with running(engine) as server, httpx2.Client(base_url=server.url, timeout=120) as client:
        videos = [
            corrupted(whole[list(KINDS)[number % len(KINDS)]], random.Random(1000 + number)) for number in range(VIDEOS)
        ]
        with ThreadPoolExecutor(4) as clients:
            found.update(clients.map(post, videos))
        assert [post(data) for data in whole.values()] == [201] * len(KINDS)
        assert client.get("/readyz").status_code == 200
    assert set(found) == {201, 400}
    print(f"{VIDEOS} corrupted uploads: {dict(found)}")
