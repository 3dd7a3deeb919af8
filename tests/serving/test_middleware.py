"""What a request passes before the app: each guard around an app of a few lines, driven as a server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from topa.serving.errors import RequestError
from topa.serving.middleware import load
from topa.serving.middleware.access import OriginCheck, TokenCheck
from topa.serving.middleware.load import Admission, BodyLimit
from topa.serving.middleware.request_id import RequestId
from topa.serving.settings import ServerLimits, ServerSettings

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def code(self) -> str:
        return json.loads(self.body)["error"]["code"]


async def call(
    app: App,
    path: str = "/v1/ask",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    chunks: Sequence[bytes] = (b"{}",),
    read: list[int] | None = None,
) -> Response:
    """One request. read: counts how many chunks were asked for."""
    left = list(chunks)
    found = Response()

    async def receive() -> Any:
        if read is not None:
            read.append(1)
        if not left:
            await asyncio.get_running_loop().create_future()
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            found.body += message.get("body", b"")

    raw = [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
    await app(
        {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": raw, "state": {}},
        receive,
        send,
    )
    return found


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and says how long it is, as apps do."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(size).encode()})


def do(*args: Any, **more: Any) -> Response:
    return asyncio.run(call(*args, **more))


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1:8000", True),
        ("localhost:8000", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("topa.localhost:8000", True),
        ("[::1]:8000", True),
        ("[2001:db8::1]", True),
        ("[::ffff:127.0.0.1]:8000", True),
        ("192.168.1.5:8000", True),
        ("gpu-server:8000", True),
        ("", True),
        ("videos.example", True),
        ("VIDEOS.example.:8000", True),
        ("evil.example:8000", False),
        ("evil.example.", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1.nip.io:8000", False),
        ("videos.example.evil.example", False),
        ("0x7f.1", False),
        ("user@evil.example", False),
    ],
)
def test_dns_rebinding(host: str, passes: bool) -> None:
    headers = {"Host": host} if host else {}
    response = do(OriginCheck(reading, ServerSettings(origins=("https://videos.example",))), headers=headers)
    assert response.status == (200 if passes else 403)
    assert passes or response.code == "host_not_allowed"
    # Who doesn't know the token gets nowhere by any name.
    assert do(OriginCheck(reading, ServerSettings(tokens=("sesame",))), headers=headers).status == 200


@pytest.mark.parametrize(
    ("origin", "allowed", "passes"),
    [
        ("http://localhost:8000", (), True),
        ("https://localhost:8000", (), True),
        ("http://localhost:3000", (), False),
        ("https://evil.example", (), False),
        ("http://localhost:8000.evil.example", (), False),
        ("null", (), False),
        ("", (), True),
        ("https://good.example", ("https://good.example/",), True),
        ("https://GOOD.example", ("https://good.example",), True),
        ("http://good.example", ("https://good.example",), False),
        ("https://evil.example", ("*",), True),
        ("http://[::1", (), False),
    ],
)
def test_pages_of_other_sites(origin: str, allowed: tuple[str, ...], passes: bool) -> None:
    app = OriginCheck(reading, ServerSettings(origins=allowed))
    response = do(app, headers={"Host": "localhost:8000"} | ({"Origin": origin} if origin else {}))
    assert response.status == (200 if passes else 403)
    assert passes or response.code == "origin_not_allowed"


def test_an_origin_without_a_host_is_none_of_ours() -> None:
    assert do(OriginCheck(reading, ServerSettings()), headers={"Origin": "null"}).status == 403
    assert do(OriginCheck(reading, ServerSettings()), headers={"Origin": "https://"}).status == 403


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("/v1/models", "Bearer one", 200),
        ("/v1/models", "bearer two", 200),
        ("/v1/models", "Bearer  one", 200),
        ("/v1/models", "Bearer three", 401),
        ("/v1/models", "Bearer ", 401),
        ("/v1/models", "Basic one", 401),
        ("/v1/models", "one", 401),
        ("/v1/models", "", 401),
        ("/v1/models", "Bearer öne", 401),
        ("/metrics", "", 401),
        ("/metrics", "Bearer one", 200),
        ("/", "", 200),
        ("/healthz", "", 200),
        ("/openapi.json", "", 200),
    ],
)
def test_tokens(path: str, given: str, status: int) -> None:
    response = do(TokenCheck(reading, ("one", "two")), path, headers={"Authorization": given} if given else {})
    assert response.status == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.code == "invalid_api_key"


def test_without_tokens_it_is_open() -> None:
    assert do(TokenCheck(reading, ()), "/v1/models").status == 200


def test_a_full_server_refuses_before_it_reads() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await reading(scope, receive, send)

        app = Admission(slow, 2)
        first = [asyncio.create_task(call(app)) for _ in range(2)]
        await asyncio.sleep(0)
        assert app.active == 2
        read: list[int] = []
        refused = await call(app, read=read)
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "busy", "1")
        assert not read
        go.set()  # what costs nothing isn't counted: it would have waited for this
        assert (await call(app, "/v1/models", method="GET")).status == 200
        assert (await call(app, "/healthz", method="GET")).status == 200
        assert [response.status for response in await asyncio.gather(*first)] == [200, 200]
        assert app.active == 0
        assert (await call(app)).status == 200

    asyncio.run(run())


def test_a_place_is_given_back_after_a_failure() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    app = Admission(failing, 1)
    with pytest.raises(RuntimeError):
        do(app)
    assert app.active == 0


@pytest.mark.parametrize(
    ("method", "path", "works"),
    [
        ("POST", "/v1/ask", True),
        ("POST", "/v1/videos", True),
        ("DELETE", "/v1/videos/vid_0", True),
        ("GET", "/v1/videos/vid_0", True),
        ("GET", "/v1/videos/vid_0/picture", True),
        ("GET", "/v1/videos/vid_0/content", False),
        ("GET", "/v1/videos", False),
        ("GET", "/v1/models", False),
        ("GET", "/v1/models/a", False),
        ("GET", "/", False),
        ("GET", "/metrics", False),
        ("GET", "/readyz", False),
    ],
)
def test_what_is_work(method: str, path: str, works: bool) -> None:
    assert do(Admission(reading, 0), path, method=method).status == (429 if works else 200)


def test_a_body_that_says_that_it_is_too_large() -> None:
    read: list[int] = []
    response = do(BodyLimit(reading, ServerLimits(body=10)), headers={"Content-Length": "11"}, read=read)
    assert (response.status, response.code) == (413, "too_large")
    assert not read


@pytest.mark.parametrize("told", [{}, {"Content-Length": "5"}, {"Content-Length": "-1"}, {"Content-Length": "x"}])
def test_a_body_that_turns_out_to_be_too_large(told: dict[str, str]) -> None:
    app = BodyLimit(reading, ServerLimits(body=10))
    with pytest.raises(RequestError) as error:
        do(app, headers=told, chunks=[b"1234567", b"1234567"])
    assert error.value.status == 413
    assert app.held == 0
    assert do(app, headers=told, chunks=[b"12345", b"12345"]).body == b"10"


def test_uploads_have_a_limit_of_their_own() -> None:
    limits = ServerLimits(body=10, upload=100_000)
    assert do(BodyLimit(reading, limits), "/v1/videos", chunks=[b"x" * 100_000]).body == b"100000"
    with pytest.raises(RequestError) as error:
        do(BodyLimit(reading, limits), "/v1/videos", chunks=[b"x" * 100_000] * 2)
    assert error.value.status == 413


def test_bodies_share_the_memory() -> None:
    """Eight of the largest, and no more."""

    async def run() -> None:
        go = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            message = await receive()
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": message["body"]})

        app = BodyLimit(slow, ServerLimits(body=10))
        first = [asyncio.create_task(call(app, chunks=[b"x" * 10])) for _ in range(8)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert app.held == 80
        with pytest.raises(RequestError) as error:
            await call(app, chunks=[b"x"])
        assert (error.value.status, error.value.retry_after) == (429, 1)
        go.set()
        assert [response.status for response in await asyncio.gather(*first)] == [200] * 8
        assert app.held == 0

    asyncio.run(run())


def test_a_body_that_comes_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_PATIENCE", 0.05)
    never: list[bytes] = []
    with pytest.raises(RequestError) as error:
        do(BodyLimit(reading, ServerLimits()), chunks=never)
    assert (error.value.status, error.value.code) == (408, "slow_body")


def test_what_came_gives_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second part comes after the first patience is over, and the first part was long enough for it."""
    monkeypatch.setattr(load, "_PATIENCE", 0.05)
    monkeypatch.setattr(load, "_MIN_RATE", 1)

    async def run() -> None:
        async def receive() -> Any:
            parts.append(1)
            if len(parts) == 2:
                await asyncio.sleep(0.2)
            return {"type": "http.request", "body": b"x" * 1000, "more_body": len(parts) < 2}

        async def send(message: Any) -> None:
            sent.append(message)

        parts: list[int] = []
        sent: list[Any] = []
        scope = {"type": "http", "method": "POST", "path": "/v1/ask", "headers": [], "state": {}}
        await BodyLimit(reading, ServerLimits())(scope, receive, send)
        assert sent[-1]["body"] == b"2000"

    asyncio.run(run())


def test_headers_that_all_responses_have() -> None:
    first, second = do(RequestId(reading)), do(RequestId(reading))
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in first.headers["content-security-policy"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_an_own_policy_is_kept() -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-security-policy", b"default-src x")]}
        )
        await send({"type": "http.response.body", "body": b""})

    assert do(RequestId(page)).headers["content-security-policy"] == "default-src x"


def test_a_failure_says_nothing_but_its_id(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the password is swordfish, in /etc/secret")

    response = do(RequestId(failing))
    assert (response.status, response.code) == (500, "internal_error")
    assert b"swordfish" not in response.body
    assert b"/etc" not in response.body
    assert response.headers["x-request-id"] in response.body.decode()
    assert "swordfish" in caplog.text
    assert response.headers["x-request-id"] in caplog.text


def test_requests_are_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    do(RequestId(reading))
    assert caplog.text == ""
    with caplog.at_level("INFO", "topa.serving"):
        response = do(RequestId(reading), "/v1/ask")
    (line,) = caplog.messages
    assert line.startswith(f"{response.headers['x-request-id']} POST /v1/ask 200 in ")


def test_what_is_no_request_of_http_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    for guard in (
        RequestId(app),
        OriginCheck(app, ServerSettings()),
        TokenCheck(app, ("x",)),
        Admission(app, 0),
        BodyLimit(app, ServerLimits()),
    ):
        asyncio.run(guard({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"] * 5
