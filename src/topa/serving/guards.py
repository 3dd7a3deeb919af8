"""What a request passes before anything is done for it: ASGI middlewares, each with one question.

Plain ASGI, as a middleware that makes a task per request would hide from the app that a client has gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .cancelling import GONE
from .errors import RequestError
from .failures import failure_of, unexpected
from .settings import Limits, Settings

log = logging.getLogger("topa.serving")

API = "/v1/"
UPLOADS = "/v1/videos"
_ENVELOPE = 64 << 10  # bytes of a form around its file
_MEMORY = 8  # bodies of the largest size that may be in memory together
_PATIENCE = 30.0  # seconds for a body to come, and for each
_SLOWEST = 32 << 10  # bytes of it, one more
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}


class Named:
    """Gives every request an id and every response the headers that all of them have; an error that nobody expected
    becomes a response that says nothing but the id, and its traceback goes to the log. There every request is a line,
    where lines of information are wanted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request"] = name
        began, status, started = time.perf_counter(), GONE, False

        async def sending(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
                have = {key for key, _ in headers}
                headers += [(key, value) for key, value in _HEADERS.items() if key not in have]
                headers.append((b"x-request-id", name.encode()))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            log.exception("%s failed", name)
            if started:
                raise
            await unexpected(name).response()(scope, receive, sending)
        finally:
            # As it was sent: with its escapes, so that a line stays one.
            path = scope.get("raw_path", b"").decode("latin-1")
            took = 1000 * (time.perf_counter() - began)
            log.info("%s %s %s %d in %.0f ms", name, scope["method"], path, status, took)


class _Guard(ABC):
    """Lets a request of HTTP pass, or answers it itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    @abstractmethod
    def refusal(self, scope: Scope) -> RequestError | None:
        """Why it may not pass."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "http" and (refused := self.refusal(scope)) is not None:
            await _refuse(refused, scope, receive, send)
        else:
            await self.app(scope, receive, send)


class Origins(_Guard):
    """Pages of other sites may not use the server through their visitor's browser.

    A browser tells which page a request is from (Origin): it must be one of this server or an allowed one. A page whose
    name was made to lead here afterwards (DNS rebinding) is from this server, as far as the browser knows. So, unless
    there are tokens, which such a page doesn't have, the server answers to no name that anybody can register: to
    addresses, to names without a dot such as localhost, and to those of allowed origins.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(app)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)
        self._names = frozenset(urlsplit(origin).hostname or "" for origin in self._origins)
        self._closed = bool(settings.tokens)

    def refusal(self, scope: Scope) -> RequestError | None:
        """As `_Guard` has it."""
        host, origin = header(scope, b"host").lower(), header(scope, b"origin").lower()
        name = _name(host)
        if not (self._closed or name in self._names or _private(name)):
            return RequestError(
                "host: found a name that isn't known here; expected an address or localhost, as pages can make any "
                "name lead here. Allow it: topa serve --allow-origin https://NAME. Or ask for tokens: --token-file",
                status=HTTPStatus.FORBIDDEN,
                code="host_not_allowed",
            )
        own = bool(host) and origin.partition("://")[2] == host
        if origin and not own and origin not in self._origins and "*" not in self._origins:
            return RequestError(
                "origin: pages of other sites may not use this server. Allow one: topa serve --allow-origin "
                "https://NAME",
                status=HTTPStatus.FORBIDDEN,
                code="origin_not_allowed",
            )
        return None


class Tokens(_Guard):
    """The API and the metrics are for those who have a token, where there are any."""

    def __init__(self, app: ASGIApp, tokens: Iterable[str]) -> None:
        super().__init__(app)
        self._known = tuple(_digest(token) for token in tokens)

    def refusal(self, scope: Scope) -> RequestError | None:
        """As `_Guard` has it."""
        path: str = scope["path"]
        if not self._known or not (path.startswith(API) or path == "/metrics"):
            return None
        kind, _, token = header(scope, b"authorization").partition(" ")
        given = _digest(token.strip())
        # All are compared, so that the time tells nothing.
        if kind.lower() == "bearer" and sum(hmac.compare_digest(given, known) for known in self._known):
            return None
        return RequestError(
            "authorization: found no token of this server; expected the header `Authorization: Bearer TOKEN`.",
            status=HTTPStatus.UNAUTHORIZED,
            code="invalid_api_key",
        )


class Admission:
    """At most so many requests are at work; the next one is told to come back, before its body is read.

    at_work: how many there are now.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most
        self.at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or not _works(scope):
            await self.app(scope, receive, send)
            return
        if self.at_work >= self.most:
            await _refuse(_busy(f"{self.most} requests are at work"), scope, receive, send)
            return
        self.at_work += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.at_work -= 1


class Bodies:
    """A body may have so many bytes, and may take so long; all that are in memory, so many together.

    What is too large by its own account is refused at once, what turns out to be is while it comes: then the app gets
    a RequestError from `receive`. held: bytes in memory.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        kept = scope["path"] != UPLOADS  # uploads go to the disk as they come
        most = self.limits.body if kept else self.limits.upload + _ENVELOPE
        told = header(scope, b"content-length")
        if told.isdigit() and int(told) > most:
            await _refuse(_too_large(most), scope, receive, send)
            return
        come = 0
        clock = asyncio.get_running_loop().time
        started = clock()

        async def receiving() -> Message:
            nonlocal come
            try:
                async with asyncio.timeout_at(started + _PATIENCE + come / _SLOWEST):
                    message = await receive()
            except TimeoutError:
                raise RequestError(
                    f"body: found {come} bytes in {clock() - started:.0f} seconds; expected more. Send it faster.",
                    status=HTTPStatus.REQUEST_TIMEOUT,
                    code="slow_body",
                ) from None
            size = len(message.get("body", b""))
            come += size
            self.held += size if kept else 0
            if come > most:
                raise _too_large(most)
            if self.held > _MEMORY * self.limits.body:
                raise _busy("the bodies of other requests take the memory that there is")
            return message

        try:
            await self.app(scope, receiving, send)
        finally:
            self.held -= come if kept else 0


def header(scope: Scope, name: bytes) -> str:
    """The first header of a name, given in lower case; "" where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def _refuse(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    failure = failure_of(error) or unexpected("")
    await failure.response()(scope, receive, send)


def _busy(why: str) -> RequestError:
    return RequestError(
        f"the server is busy: {why}. Send it again in a second.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        code="busy",
        retry_after=1,
    )


def _too_large(most: int) -> RequestError:
    return RequestError(
        f"body: found more than {most} bytes; expected at most so many. Upload a video to {UPLOADS}, or send a smaller "
        "one, or raise the server's limit.",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code="too_large",
    )


def _works(scope: Scope) -> bool:
    """Whether a request may need the model or a decoder: all but lists, the model's name and files as they are."""
    path: str = scope["path"]
    if not path.startswith(API):
        return False
    if scope["method"] not in ("GET", "HEAD"):
        return True
    return path.startswith(f"{UPLOADS}/") and not path.endswith("/content")


def _name(host: str) -> str:
    """Of a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _private(name: str) -> bool:
    """Whether nobody can register a host's name: it is none, an address, has no dot, or is below localhost."""
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
