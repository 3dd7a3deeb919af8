"""The file of a form, however the form is cut into parts on its way."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topa.serving.errors import RequestError
from topa.serving.multipart import read_file

KIND = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


def read(chunks: Sequence[bytes], kind: str = KIND) -> tuple[str, bytes]:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def run() -> tuple[str, bytes]:
        name, content = await read_file(kind, body())
        return name, b"".join([own async for own in content])

    return asyncio.run(run())


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=20))
def test_wherever_it_is_cut(content: bytes, cuts: list[int]) -> None:
    whole = (
        part("purpose", b"vision") + part("file", content, '; filename="a.mp4"') + part("after", b"x") + b"--b--\r\n"
    )
    at = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    chunks = [whole[start:end] for start, end in itertools.pairwise(at)]
    assert read(chunks) == ("a.mp4", content)


def test_the_content_comes_as_it_is_sent() -> None:
    """And isn't gathered: a chunk is there before the next one is asked for."""
    asked: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield part("file", b"")[:-2]
        for number in range(3):
            asked.append(number)
            yield b"x" * 1000
        yield b"\r\n--b--\r\n"

    async def run() -> None:
        _, content = await read_file(KIND, body())
        assert len(await anext(content)) > 900
        assert asked == [0]
        await content.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('; filename="a b.mp4"', "a b.mp4"),
        ("", ""),
        ('; filename="Käfer.mp4"', "Käfer.mp4"),
        ('; filename="../../etc/passwd"', "../../etc/passwd"),  # whoever shows it cuts it
    ],
)
def test_names(name: str, expected: str) -> None:
    assert read([part("file", b"x", name) + b"--b--\r\n"]) == (expected, b"x")


@pytest.mark.parametrize(
    ("chunks", "kind", "status", "code"),
    [
        ([b"x"], "application/json", 415, "unsupported_media_type"),
        ([b"x"], "multipart/form-data", 415, "unsupported_media_type"),
        ([b"x"], "", 415, "unsupported_media_type"),
        ([b"x"], "multipart/form-data; boundary=" + "x" * 5000, 400, "invalid_form"),
        ([b"no form"], KIND, 400, "invalid_form"),
        ([], KIND, 400, "invalid_form"),
        ([b"--b--\r\n"], KIND, 400, "missing_required_parameter"),
        ([part("video", b"x") + b"--b--\r\n"], KIND, 400, "missing_required_parameter"),
        ([part("file", b"x")], KIND, 400, "invalid_form"),
        ([part("file", b"x") + part("file", b"y") + b"--b--\r\n"], KIND, 400, "invalid_form"),
        ([part("file", b"x", "; x=" + "y" * 10_000) + b"--b--\r\n"], KIND, 400, "invalid_form"),
        ([b"--b\r\nContent-Disposition form-data\r\n\r\nx\r\n--b--\r\n"], KIND, 400, "invalid_form"),
        ([b"--b\r\n\r\nx\r\n--b--\r\n"], KIND, 400, "missing_required_parameter"),
    ],
    ids=range(13),
)
def test_forms_that_are_none(chunks: list[bytes], kind: str, status: int, code: str) -> None:
    with pytest.raises(RequestError) as error:
        read(chunks, kind)
    assert (error.value.status, error.value.code) == (status, code)


@given(st.binary(max_size=200), st.sampled_from([KIND, "multipart/form-data; boundary=\xff", "multipart/form-data;"]))
def test_nothing_else_is_raised(content: bytes, kind: str) -> None:
    for chunks in ([content], [b"--b\r\n", content, b"--b--\r\n"], [part("file", content)]):
        with contextlib.suppress(RequestError):
            read(chunks, kind)
