"""Uploads: streamed to the disk within limits, equal ones once, none lost that is in use, nothing left behind."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from topa.serving.errors import RequestError
from topa.serving.settings import ServerLimits
from topa.serving.uploads import Upload, Uploads, display_name


def content(number: int, size: int = 1000) -> bytes:
    return bytes([number]) * size


async def chunks(data: bytes, size: int = 300) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        await asyncio.sleep(0)  # others take their turn, as between chunks from the network
        yield data[start : start + size]


def receive(uploads: Uploads, data: bytes, name: str = "a.mp4") -> Upload:
    return asyncio.run(uploads.receive(chunks(data), name))


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def kept(uploads: Uploads, *given: Upload) -> list[bool]:
    found = []
    for upload in given:
        if upload.path.is_file():
            assert uploads.get(upload.id) == upload
        else:
            with pytest.raises(RequestError) as unknown:
                uploads.get(upload.id)
            assert (unknown.value.status, unknown.value.code) == (404, "video_not_found")
        found.append(upload.path.is_file())
    return found


@pytest.fixture
def make(tmp_path) -> Iterator:
    made = []

    def of(**limits: int) -> Uploads:
        made.append(Uploads(tmp_path / "up", ServerLimits(**limits)))
        return made[-1]

    yield of
    for uploads in made:
        uploads.close()


@pytest.mark.parametrize("size", [0, 1, 999, (1 << 20) - 1, 1 << 20, (5 << 20) + 7])
def test_what_is_kept_is_what_came(make, size) -> None:
    uploads = make()
    data = bytes(i * i % 251 for i in range(997)) * (size // 997 + 1)
    upload = asyncio.run(uploads.receive(chunks(data[:size], 65_537), "../../x/Ferien\r\n.mp4"))
    assert upload.path.read_bytes() == data[:size]
    assert upload.id == upload.path.name == "vid_" + sha256(data[:size]).hexdigest()[:24]
    assert (upload.bytes, upload.name) == (size, "Ferien.mp4")
    assert uploads.get(upload.id) == upload


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\ann\clip.mp4", "clip.mp4"),
        ("a\0b\x1b[31m\u202e4pm.exe\ud800", "ab[31m4pm.exe"),
        ("  ", "video"),
        ("folder/", "video"),
        ("ü" * 300, "ü" * 100),
        ('<img src=x onerror="1">', '<img src=x onerror="1">'),
    ],
)
def test_names_are_for_showing(name, expected) -> None:
    assert display_name(name) == expected


def test_too_large_is_refused_while_it_comes(make, tmp_path) -> None:
    uploads = make(upload=10_000)
    taken, closed = [], []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                taken.append(1)
                yield b"x" * 1000
        finally:
            closed.append(1)

    async def run() -> None:
        with pytest.raises(RequestError, match="found more than 10000 bytes") as refused:
            await uploads.receive(endless(), "a")
        assert (refused.value.status, refused.value.code, refused.value.param) == (413, "too_large", "video")
        assert closed, "a connection may hang on what is given"

    asyncio.run(run())
    assert len(taken) == 11
    assert not files(tmp_path)
    assert receive(uploads, content(1, 10_000)).bytes == 10_000


def test_equal_content_at_the_same_time_is_kept_once(make, tmp_path) -> None:
    uploads = make(kept_bytes=20_000)

    async def run() -> list[Upload]:
        return await asyncio.gather(*(uploads.receive(chunks(content(1)), f"{n}.mp4") for n in range(8)))

    found = asyncio.run(run())
    assert len({(upload.id, upload.path, upload.created) for upload in found}) == 1
    assert sorted(upload.name for upload in found) == [f"{n}.mp4" for n in range(8)]
    assert uploads.get(found[0].id).name in {upload.name for upload in found}
    assert files(tmp_path) == 1
    assert receive(uploads, content(2, 19_000)).bytes == 19_000
    assert files(tmp_path) == 2, "the seven others take no space any more"


def test_different_uploads_at_the_same_time(make) -> None:
    uploads = make()

    async def run() -> list[Upload]:
        return await asyncio.gather(*(uploads.receive(chunks(content(n)), "a") for n in range(20)))

    assert [upload.path.read_bytes() for upload in asyncio.run(run())] == [content(n) for n in range(20)]


def test_the_one_used_least_recently_goes_by_count(make, tmp_path) -> None:
    uploads = make(kept_videos=3)
    a, b, c = (receive(uploads, content(n)) for n in range(3))
    uploads.get(a.id)
    d = receive(uploads, content(3))
    assert kept(uploads, c, a, d, b) == [True, True, True, False]
    with uploads.using(c.id):
        pass
    receive(uploads, content(0))  # a, once more
    e = receive(uploads, content(4))
    assert kept(uploads, c, a, e, d) == [True, True, True, False]
    assert files(tmp_path) == 3


def test_the_one_used_least_recently_goes_by_size(make, tmp_path) -> None:
    uploads = make(kept_bytes=3000)
    a, b, c = (receive(uploads, content(n)) for n in range(3))
    d = receive(uploads, content(3, 1001))
    assert kept(uploads, a, b, c, d) == [False, False, True, True]
    assert files(tmp_path) == 2


@pytest.mark.parametrize("limits", [{"kept_videos": 2}, {"kept_bytes": 2500}])
def test_one_in_use_stays(make, tmp_path, limits) -> None:
    uploads = make(**limits)
    a, b = (receive(uploads, content(n)) for n in range(2))
    with uploads.using(a.id) as used:
        assert used == a
        c = receive(uploads, content(2))
        assert kept(uploads, a, b, c) == [True, False, True]
        with uploads.using(c.id), pytest.raises(RequestError, match="in use") as full:
            receive(uploads, content(3))
        assert (full.value.status, full.value.code) == (507, "no_space")
        assert files(tmp_path) == 2
    d, e = (receive(uploads, content(n)) for n in (4, 5))
    assert kept(uploads, a, c, d, e) == [False, False, True, True]


def test_what_is_still_coming_counts(make, tmp_path) -> None:
    mb = 1 << 20
    uploads = make(kept_bytes=5 * mb)
    peak = 0

    def on_disk() -> int:
        return sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    async def watched(data: bytes) -> AsyncIterator[bytes]:
        nonlocal peak
        async for chunk in chunks(data, mb):
            yield chunk
            peak = max(peak, on_disk())

    async def run() -> list[object]:
        return await asyncio.gather(
            *(uploads.receive(watched(content(n, 3 * mb)), "a") for n in range(4)), return_exceptions=True
        )

    found = asyncio.run(run())
    refused = [error for error in found if isinstance(error, RequestError)]
    assert refused
    assert {error.code for error in refused} == {"no_space"}
    assert 0 < peak <= 5 * mb
    assert receive(uploads, content(9, 5 * mb)).bytes == 5 * mb, "nothing of the refused ones is still counted"


def test_removed_while_in_use_and_given_again(make, tmp_path) -> None:
    uploads = make()
    first = receive(uploads, content(1))
    with uploads.using(first.id), uploads.using(first.id):
        uploads.remove(first.id)
        with pytest.raises(RequestError), uploads.using(first.id):
            pass
        second = receive(uploads, content(1))
        assert second.id == first.id
        assert first.path.read_bytes() == content(1), "who reads it reads on"
    assert not first.path.exists()
    assert second.path.read_bytes() == content(1)
    uploads.remove(second.id)
    assert not files(tmp_path)
    with pytest.raises(RequestError) as gone:
        uploads.remove(second.id)
    assert gone.value.status == 404


@pytest.mark.parametrize("name", ["", "vid_", "../x", "vid_" + "0" * 24, "x" * 100_000, "lib_1"])
def test_ids_of_nothing(make, name) -> None:
    with pytest.raises(RequestError) as unknown:
        make().get(name)
    assert unknown.value.status == 404
    assert len(str(unknown.value)) < 500


def test_a_client_that_goes_leaves_nothing(make, tmp_path) -> None:
    uploads = make()

    async def broken() -> AsyncIterator[bytes]:
        yield content(1)
        raise ConnectionResetError

    async def run() -> None:
        with pytest.raises(ConnectionResetError):
            await uploads.receive(broken(), "a")
        waits, comes = asyncio.Event(), asyncio.Event()

        async def hangs() -> AsyncIterator[bytes]:
            yield content(1, 3 << 20)
            comes.set()
            await waits.wait()

        task = asyncio.create_task(uploads.receive(hangs(), "a"))
        await comes.wait()
        assert files(tmp_path) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert not files(tmp_path)


def test_a_full_disk_is_said_and_leaves_nothing(make, tmp_path) -> None:
    uploads = make()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, before[1]))
    try:
        with pytest.raises(RequestError, match="the disk is full") as full:
            receive(uploads, content(1, 1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (full.value.status, full.value.code) == (507, "no_space")
    assert not files(tmp_path)
    assert receive(uploads, content(1, 1 << 20)).bytes == 1 << 20


def test_the_folder_is_private_and_goes_alone(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("stays")
    first, second = Uploads(tmp_path, ServerLimits()), Uploads(tmp_path, ServerLimits())
    a, b = receive(first, content(1)), receive(second, content(1))
    assert a.path.parents[1].stat().st_mode & 0o777 == 0o700
    with first.using(a.id):
        first.close()
        assert not a.path.exists()
    assert b.path.exists()
    second.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
