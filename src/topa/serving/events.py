"""Answers that are streamed: server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Generic, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .deadlines import timed_out
from .error_responses import as_request_error, error_body, internal_error

log = logging.getLogger("topa.serving")

T = TypeVar("T")
MEDIA_TYPE = "text/event-stream"
_DONE = b"data: [DONE]\n\n"
_LAST_EVENT_SECONDS = 5.0  # that a client has to take the last event


def event(body: bytes) -> bytes:
    """Return a line of JSON as an event."""
    return b"data: " + body + b"\n\n"


class EventStream(Response, Generic[T]):
    """A response whose events are sent as they are made, in the task of the request: when that is cancelled, so is what
    makes them. An error on the way is an event, and the last one; nothing was sent before the first part is made, so
    that what fails at once can still be an error of HTTP.

    FastAPI's `EventSourceResponse` sends its headers before the first part, and no time limit reaches a client that
    takes nothing (test_disconnects, test_a_client_that_takes_nothing_holds_nothing).
    """

    def __init__(
        self, first: T, rest: AsyncGenerator[T, None], encode: Callable[[T], bytes], *, seconds: float, limit: float
    ) -> None:
        """rest: parts after the first one; closed at the end whatever happens. encode: a part as events. seconds: that
        are left for all of it, of the limit that an error then tells."""
        super().__init__(media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        self._first = first
        self._rest = rest
        self._encode = encode
        self._seconds = seconds
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        last = _DONE
        async with aclosing(self._rest):
            try:
                async with asyncio.timeout(self._seconds) as limit:
                    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
                    await send(_message(self._encode(self._first)))
                    async for part in self._rest:
                        await send(_message(self._encode(part)))
            except Exception as error:
                refused = timed_out(self._limit) if limit.expired() else as_request_error(error)
                request_id: str = scope["state"]["request_id"]
                if refused is None:
                    log.exception("%s failed while it was answered", request_id)
                last = event(error_body(refused or internal_error(request_id)))
        with suppress(TimeoutError):  # who doesn't take it is cut off by the server
            async with asyncio.timeout(_LAST_EVENT_SECONDS):
                await send(_message(last, more=False))


def _message(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
