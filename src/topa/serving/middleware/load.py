"""How much the server takes on: requests at work, and bytes of their bodies."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..error_responses import error_response
from ..errors import RequestError
from ..settings import ServerLimits
from .base import API, UPLOADS, HttpMiddleware

_FORM = 64 << 10  # bytes of a form around its file
_BODIES = 8  # bodies of the largest size that may be in memory together
_PATIENCE = 30.0  # seconds that a body may take
_MIN_RATE = 32 << 10  # bytes of it that give it one second more


class Admission(HttpMiddleware):
    """Lets a number of requests work at the same time; the next one is told to come back, before its body is read.

    active: how many there are now.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        super().__init__(app)
        self.limit = limit
        self.active = 0

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _needs_model(scope):
            await self.app(scope, receive, send)
            return
        if self.active >= self.limit:
            await error_response(_busy(f"{self.limit} requests are at work"))(scope, receive, send)
            return
        self.active += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.active -= 1


class BodyLimit(HttpMiddleware):
    """Limits a body's size and the time it takes, and the memory that all bodies take together.

    A body that is too large by its own account is refused at once; one that turns out to be, while it arrives: then
    the app gets a RequestError from `receive`. held: bytes in memory. Starlette's `RequestBodyLimitMiddleware` knows
    neither time nor the others' memory (test_a_body_that_comes_too_slowly, test_bodies_share_the_memory).
    """

    def __init__(self, app: ASGIApp, limits: ServerLimits) -> None:
        super().__init__(app)
        self.limits = limits
        self.held = 0

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        in_memory = scope["path"] != UPLOADS  # uploads go to the disk as they arrive
        limit = self.limits.body if in_memory else self.limits.upload + _FORM
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
            return
        received = 0
        clock = asyncio.get_running_loop().time
        start = clock()

        async def receive_limited() -> Message:
            nonlocal received
            try:
                async with asyncio.timeout_at(start + _PATIENCE + received / _MIN_RATE):
                    message = await receive()
            except TimeoutError:
                raise RequestError(
                    f"body: found {received} bytes in {clock() - start:.0f} seconds; expected more. Send it faster.",
                    status=HTTPStatus.REQUEST_TIMEOUT,
                    code="slow_body",
                ) from None
            size = len(message.get("body", b""))
            received += size
            self.held += size if in_memory else 0
            if received > limit:
                raise _too_large(limit)
            if self.held > _BODIES * self.limits.body:
                raise _busy("the bodies of other requests take the memory that there is")
            return message

        try:
            await self.app(scope, receive_limited, send)
        finally:
            self.held -= received if in_memory else 0


def _busy(reason: str) -> RequestError:
    return RequestError(
        f"the server is busy: {reason}. Send it again in a second.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        code="busy",
        retry_after=1,
    )


def _too_large(limit: int) -> RequestError:
    return RequestError(
        f"body: found more than {limit} bytes; expected at most so many. Upload a video to {UPLOADS}, or send a "
        "smaller one, or raise the server's limit.",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code="too_large",
    )


def _needs_model(scope: Scope) -> bool:
    """Return whether a request may need the model or a decoder: all but lists, the model's name and files."""
    path: str = scope["path"]
    if not path.startswith(API):
        return False
    if scope["method"] not in ("GET", "HEAD"):
        return True
    return path.startswith(f"{UPLOADS}/") and not path.endswith("/content")
