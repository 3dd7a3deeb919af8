"""Nobody works for a client that has gone, and no answer takes for ever."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.serving import events
from topa.serving.deadlines import time_limit
from topa.serving.errors import RequestError
from topa.serving.events import EventStream, event
from topa.serving.middleware.disconnect import DisconnectCancellation
from topa.serving.settings import ServerLimits, ServerSettings

from .running import Running, running

QUESTION = {"question": "what is the color ?"}


def until(true: Callable[[], bool]) -> None:
    """Wait generously."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


class Held:
    """Holds the model's thread, so that all other work waits, until it is let go."""

    def __init__(self, server: Running) -> None:
        self.go = threading.Event()
        self.busy = threading.Event()

        def hold() -> None:
            self.busy.set()
            assert self.go.wait(60)

        worker = server.service._worker
        self.held = asyncio.run_coroutine_threadsafe(worker.call(hold), server.loop)
        assert self.busy.wait(60)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.held.result(60)


def post(server: Running, path: str, body: dict[str, Any]) -> socket.socket:
    """Send a request, and don't wait for its answer."""
    host, port = server.url.removeprefix("http://").split(":")
    raw = json.dumps(body).encode()
    connection = socket.create_connection((host, int(port)), timeout=60)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    return connection


def tasks(server: Running) -> int:
    """Requests that the server has a task for."""
    return server.do(lambda: sum("run_asgi" in repr(task) for task in asyncio.all_tasks()))


def chat(video: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "video_url", "video_url": {"url": video}}, {"type": "text", "text": "what is the color ?"}]
    return {"model": "topa", "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture(scope="module")
def video(server: Running, micro_videos: list[Any]) -> str:
    with micro_videos[0].path.open("rb") as file:
        return httpx2.post(f"{server.url}/v1/videos", files={"file": file}, timeout=60).json()["id"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/ask", {"choices": ["red", "blue"]}),
        ("/v1/ask", {}),
        ("/v1/explain", {}),
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"stream": True}),
    ],
    ids=["choose", "say", "explain", "chat", "stream"],
)
def test_work_of_a_client_that_has_gone_is_never_done(
    server: Running, video: str, path: str, more: dict[str, Any]
) -> None:
    """It waits for the model; when the model is free, nobody has asked anything."""
    body = chat(video, **more) if "chat" in path else {"video": video, **QUESTION, **more}
    did: list[str] = []
    before, server.service.observe = server.service.observe, lambda what, many: did.append(what)
    try:
        with Held(server):
            connection = post(server, path, body)
            until(lambda: server.service.numbers()["waiting"] == 1)
            connection.close()
            until(lambda: tasks(server) == 0)
        until(lambda: server.service.numbers()["waiting"] == 0)
        assert did == []
    finally:
        server.service.observe = before


def test_a_stream_ends_with_its_client(server: Running, video: str) -> None:
    """The model stops in its third step until the client has gone, and makes no more of them."""
    there, gone, did = threading.Event(), threading.Event(), []

    def observe(what: str, many: int) -> None:
        did.append(what)
        if did.count("step") == 3:
            there.set()
            assert gone.wait(60)

    before, server.service.observe = server.service.observe, observe
    try:
        caption = chat(video, stream=True)
        del caption["messages"][0]["content"][1]  # the question, whose answer is a word
        connection = post(server, "/v1/chat/completions", caption)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert there.wait(60)
        connection.close()
        until(lambda: tasks(server) == 0)
        gone.set()
        with Held(server):  # which comes after what was at work
            assert did.count("step") == 3
    finally:
        gone.set()
        server.service.observe = before


def test_the_client_that_stays_is_answered(server: Running, video: str) -> None:
    """Another client's going changes nothing for it."""
    with Held(server):
        gone = post(server, "/v1/ask", {"video": video, **QUESTION})
        stays = post(server, "/v1/ask", {"video": video, **QUESTION})
        until(lambda: server.service.numbers()["waiting"] == 2)
        gone.close()
        until(lambda: tasks(server) == 1)
    assert stays.recv(100).startswith(b"HTTP/1.1 200")
    stays.close()


@pytest.mark.parametrize("path", ["/v1/ask", "/v1/chat/completions", "/v1/explain"])
def test_an_answer_that_takes_too_long_is_given_up(engine: Topa, contents: Contents, path: str) -> None:
    with running(engine, ServerSettings(limits=ServerLimits(request_seconds=0.2)), contents) as server:
        video = httpx2.get(f"{server.url}/v1/videos").json()["data"][0]["id"]
        body = chat(video, stream=True) if "chat" in path else {"video": video, **QUESTION}
        with Held(server):
            reply = httpx2.post(server.url + path, json=body, timeout=60)
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "timeout"
        assert "max_tokens" in reply.json()["error"]["message"]


def test_a_stream_that_takes_too_long_ends_with_an_error(
    engine: Topa, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told is told; then comes the error, and no end as of a whole answer."""
    with running(engine, ServerSettings(limits=ServerLimits(request_seconds=5)), contents) as server:
        video = httpx2.get(f"{server.url}/v1/videos").json()["data"][0]["id"]
        whole = server.service.stream

        async def stuck(*args: Any, **more: Any) -> Any:
            pieces = whole(*args, **more)
            yield await anext(pieces)
            await pieces.aclose()
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(server.service, "stream", stuck)
        reply = httpx2.post(f"{server.url}/v1/chat/completions", json=chat(video, stream=True), timeout=60)
        assert reply.status_code == 200
        lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
        assert json.loads(lines[0])["choices"][0]["delta"]["role"] == "assistant"
        assert json.loads(lines[-1])["error"]["code"] == "timeout"
        assert "[DONE]" not in lines


def test_an_upload_has_time_for_its_way_and_then_a_limit(engine: Topa, micro_videos: list[Any]) -> None:
    """The body comes more slowly than an answer may; then the model doesn't."""
    content = micro_videos[2].path.read_bytes()
    reached = threading.Event()

    def slowly() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + content[:1000]
        time.sleep(0.5)
        yield content[1000:]
        reached.set()
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    with running(engine, ServerSettings(limits=ServerLimits(request_seconds=0.3))) as server, Held(server):
        reply = httpx2.post(f"{server.url}/v1/videos", content=slowly(), headers=kind, timeout=60)
    assert reached.is_set()
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "timeout")


def test_nothing_is_left_of_an_upload_that_breaks_off(engine: Topa, micro_videos: list[Any]) -> None:
    content = micro_videos[2].path.read_bytes()
    with running(engine) as server:
        host, port = server.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=60)
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + content[:-9]
        head = f"POST /v1/videos HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        connection.sendall(f"{head}Content-Length: {len(content) + 1000}\r\n\r\n".encode() + part)
        until(lambda: any(file.is_file() for file in server.folder.rglob("*")))
        connection.close()
        until(lambda: tasks(server) == 0)
        assert not [file for file in server.folder.rglob("*") if file.is_file()]


def test_a_client_that_takes_nothing_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream ends when its time is over, though the last event can't be sent either."""
    monkeypatch.setattr(events, "_LAST_EVENT_SECONDS", 0.05)
    closed: list[str] = []

    async def pieces() -> Any:
        try:
            while True:
                yield b"more"
        finally:
            closed.append("pieces")

    async def run() -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.get_running_loop().create_future()

        rest = pieces()
        stream = EventStream(await anext(rest), rest, event, seconds=0.05, limit=60)
        await stream({"type": "http", "state": {"request_id": "req_1"}}, send, send)

    asyncio.run(run())
    assert closed == ["pieces"]


def test_a_time_limit_tells_its_own_time_from_others() -> None:
    async def own() -> None:
        async with time_limit(0.01):
            await asyncio.get_running_loop().create_future()

    async def other() -> None:
        async with time_limit(60):
            raise TimeoutError("of a socket")

    with pytest.raises(RequestError) as error:
        asyncio.run(own())
    assert (error.value.status, error.value.code) == (503, "timeout")
    with pytest.raises(TimeoutError, match="socket"):
        asyncio.run(other())


def test_a_server_that_is_stopped_cancels_as_ever() -> None:
    """What isn't the client's going stays what it is."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.get_running_loop().create_future()

    async def run() -> None:
        sent = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if sent:
                return sent.pop()
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            raise AssertionError

        task = asyncio.create_task(
            DisconnectCancellation(app)({"type": "http", "method": "POST", "state": {}}, receive, send)
        )
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1  # nobody listens any more

    asyncio.run(run())


def test_a_client_that_goes_while_it_sends() -> None:
    reached: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        reached.append("the end")

    async def run() -> None:
        sent = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"x", "more_body": True}]

        async def receive() -> Any:
            return sent.pop()

        async def send(message: Any) -> None:
            raise AssertionError

        await DisconnectCancellation(app)({"type": "http", "method": "POST", "state": {}}, receive, send)

    asyncio.run(run())
    assert reached == []
