"""An endpoint: how it is spoken to, and which class each of its errors is. The servers are real ones."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from topa.core.errors import UsageError
from topa.tideos.endpoint import Endpoint
from topa.tideos.seeds import Seed
from topa.tideos.writer_prompt import WriterPrompt, read_reply, reply_schema
from topa.tideos.writers import BadContent, Mode, Permanent, Probe, TokenUsage, Transient, count_body, read_body

from .replies import good_reply
from .servers import Answer, completion, good, is_probe, llama_server, reset, send, serving, write_gguf

MESSAGES = [{"role": "user", "content": "write"}]
STRICT = Mode(output="json_schema")


def ask(url: str, mode: Mode = STRICT, **options: Any) -> str:
    async def run() -> str:
        async with Endpoint(url, "m", schema=reply_schema(), **options) as endpoint:
            return await endpoint.ask(MESSAGES, mode)

    return asyncio.run(run())


def probe(url: str) -> Probe:
    async def run() -> Probe:
        async with Endpoint(url, "m", schema=reply_schema()) as endpoint:
            return await endpoint.probe()

    return asyncio.run(run())


def status(code: int, body: bytes = b'{"error": {"message": "no"}}', **headers: str) -> Answer:
    return lambda handler, _: send(handler, code, body, **headers)


def cut(handler: Any, _: dict[str, Any]) -> None:
    """Half a body, then the end of the connection."""
    body = completion(json.dumps(good_reply()))
    handler.send_response(200)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (status(429, retry_after="7"), 7),
        (status(429), 0),
        (status(429, retry_after="soon"), 0),
        (status(503, retry_after=formatdate(0)), 0),
        (status(500), 0),
        (lambda handler, _: reset(handler), 0),
        (cut, 0),
    ],
)
def test_transient(answer: Answer, wait: float) -> None:
    with serving(answer) as (url, log), pytest.raises(Transient, match=r"127\.0\.0\.1:\d+, model m: ") as raised:
        ask(url)
    assert raised.value.wait == wait
    assert len(log.requests) == 1  # the SDK doesn't retry on its own: the flow counts and paces every request


def test_a_server_that_hangs_is_transient() -> None:
    end = threading.Event()
    with serving(lambda *_: end.wait(30) and None) as (url, _):
        with pytest.raises(Transient, match="no reply in time"):
            ask(url, timeout=0.3)
        end.set()


def test_nobody_there_is_transient() -> None:
    with serving(good) as (url, _):
        pass
    with pytest.raises(Transient):
        ask(url)


@pytest.mark.parametrize(
    ("answer", "every"),
    [
        (status(400, b'{"error": {"message": "context length exceeded"}}'), False),
        (status(401), True),
        (status(404), True),
        (status(429, b'{"error": {"code": "insufficient_quota"}}'), True),
    ],
)
def test_permanent(answer: Answer, every: bool) -> None:
    with serving(answer) as (url, _), pytest.raises(Permanent) as raised:
        ask(url)
    assert raised.value.every is every


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret-1")
    headers = []

    def answer(handler: Any, _: dict[str, Any]) -> None:
        headers.append(handler.headers["authorization"])
        send(handler, 401, b"wrong key very-secret-1")

    with serving(answer) as (url, _), pytest.raises(Permanent) as raised:
        ask(url, key_env="MY_KEY")
    assert headers == ["Bearer very-secret-1"]
    assert "wrong key ***" in str(raised.value)
    assert "very-secret-1" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["host/v1", "http://", "http://me:very-secret@host/v1", "https://host/v1?key=very-secret"]
)
def test_a_url_that_cant_be_meant(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url") as raised:
        Endpoint(url, "m", schema={})
    assert "very-secret" not in str(raised.value)


def test_an_empty_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UsageError, match="MY_KEY"):
        Endpoint("http://host/v1", "m", key_env="MY_KEY", schema={})


def test_a_body_is_read() -> None:
    assert read_body(completion("{}").decode()) == "{}"
    assert count_body(completion("{}").decode()) == TokenUsage(100, 50)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (completion(None, refusal="I won't"), "refused"),
        (completion("x", finish="content_filter"), "refused"),
        (completion('{"frames": [', finish="length"), "cut off"),
        (completion(" "), "empty"),
        (completion(None), "empty"),
        (b"<html>", "not a chat completion"),
        (b"[]", "not a chat completion"),
        (b'{"choices": [{"message": "x"}]}', "not a chat completion"),
    ],
)
def test_bad_content(body: bytes, problem: str) -> None:
    with pytest.raises(BadContent, match=problem):
        read_body(body.decode())


@pytest.mark.parametrize("body", ["", "[]", '{"usage": null}', '{"usage": {"prompt_tokens": "many"}}'])
def test_a_body_without_usage_counts_nothing(body: str) -> None:
    assert count_body(body) == TokenUsage()


def knows(*outputs: str, ignores: bool = False, limit: str = "max_tokens") -> Answer:
    """A server with some of the ways; it refuses the others, or ignores that it was asked for them."""

    def answer(handler: Any, request: dict[str, Any]) -> None:
        mode = request.get("response_format", {}).get("type", "text")
        if limit not in request:
            send(handler, 400, f"unknown parameter, use {limit}".encode())
        elif mode in outputs:
            good(handler, request)
        elif ignores:
            send(handler, 200, completion("Sure! {ready: yes}"))
        else:
            send(handler, 400, b"response_format is not known")

    return answer


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (("json_schema", "json_object", "text"), "json_schema"),
        (("json_object", "text"), "json_object"),
        (("text",), "text"),
    ],
)
def test_the_strictest_way_is_found(outputs: tuple[str, ...], expected: str, limit: str, ignores: bool) -> None:
    with serving(knows(*outputs, ignores=ignores, limit=limit)) as (url, log):
        result = probe(url)
    assert result.mode.model_dump() == {"output": expected, "limit": limit}
    assert result.tokens.tokens_out > 0
    assert all(is_probe(request) for request in log.requests)


def test_a_real_schema_that_is_refused_makes_the_way_too_strict() -> None:
    def answer(handler: Any, request: dict[str, Any]) -> None:
        if "frames" in json.dumps(request.get("response_format", {})):
            send(handler, 400, b"keyword minItems is not permitted")
        else:
            good(handler, request)

    with serving(answer) as (url, _):
        assert probe(url).mode.output == "json_object"


def test_a_server_that_takes_nothing_is_permanent() -> None:
    with serving(status(400)) as (url, _), pytest.raises(Permanent):
        probe(url)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")) as address:
        yield address


def test_llama_cpp_obeys_the_strict_schema(llama: str, real_schema: Callable[[], dict[str, Any]]) -> None:
    """A random model writes nonsense, in exactly the shape that was asked for."""
    prompt = WriterPrompt().render(Seed(id="1", kind="own", text="a kite"))

    async def run() -> tuple[Probe, list[str]]:
        url = f"{llama}/v1"
        async with Endpoint(url, "tiny", schema=real_schema(), temperature=1.0, timeout=60) as endpoint:
            probed = await endpoint.probe()
            return probed, [await endpoint.ask([{"role": "user", "content": prompt}], probed.mode) for _ in range(3)]

    probed, bodies = asyncio.run(run())
    assert probed.mode == STRICT
    for body in bodies:
        content = read_reply(read_body(body))
        assert 5 <= len(content.frames) <= 15
        assert count_body(body).tokens_in > len(prompt) / 2
        assert count_body(body).tokens_out > 100


def test_llama_cpp_cuts_at_the_limit_and_refuses_what_is_too_long(llama: str) -> None:
    url = f"{llama}/v1"
    with pytest.raises(BadContent, match="cut off"):
        read_body(ask(url, max_tokens=20))

    async def long() -> None:
        async with Endpoint(url, "tiny", schema=reply_schema(), timeout=60) as endpoint:
            await endpoint.ask([{"role": "user", "content": "word " * 10_000}], STRICT)

    with pytest.raises(Permanent, match="context") as raised:
        asyncio.run(long())
    assert not raised.value.every
