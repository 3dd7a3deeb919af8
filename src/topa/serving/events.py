"""Answers that come in pieces: server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Generic, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .cancelling import timed_out
from .failures import failure_of, unexpected

log = logging.getLogger("topa.serving")

T = TypeVar("T")
MEDIA_TYPE = "text/event-stream"
_DONE = b"data: [DONE]\n\n"
_FAREWELL = 5.0  # seconds that a client has to take the last event


def event(body: bytes) -> bytes:
    """A line of JSON as an event."""
    return b"data: " + body + b"\n\n"


class EventStream(Response, Generic[T]):
    """A response whose events are sent as they are made, in the task of the request: when that is cancelled, so is what
    makes them. An error on the way is an event, and the last one; nothing came before the first piece, so that what
    fails at once can still be an error of HTTP."""

    def __init__(
        self, first: T, rest: AsyncGenerator[T, None], shape: Callable[[T], bytes], *, seconds: float, limit: float
    ) -> None:
        """rest: pieces after the first one; closed at the end whatever happens. shape: a piece as events. seconds: that
        are left for all of it, of the limit that an error then tells."""
        super().__init__(media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        self._first = first
        self._rest = rest
        self._shape = shape
        self._seconds = seconds
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        last = _DONE
        async with aclosing(self._rest):
            try:
                async with asyncio.timeout(self._seconds) as limit:
                    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
                    await send(_part(self._shape(self._first)))
                    async for piece in self._rest:
                        await send(_part(self._shape(piece)))
            except Exception as error:
                told = timed_out(self._limit) if limit.expired() else error
                failure = failure_of(told)
                name: str = scope["state"]["request"]
                if failure is None:
                    log.exception("%s failed while it was answered", name)
                last = event((failure or unexpected(name)).body())
        with suppress(TimeoutError):  # who doesn't take it is cut off by the server
            async with asyncio.timeout(_FAREWELL):
                await send(_part(last, more=False))


def _part(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
