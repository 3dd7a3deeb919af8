"""Ids of requests, the headers that all responses have, and the log."""

from __future__ import annotations

import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from ..error_responses import error_response, internal_error
from .base import CLIENT_CLOSED, HttpMiddleware

log = logging.getLogger("topa.serving")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class RequestId(HttpMiddleware):
    """Gives every request an id and a line of the log, and every response the headers that all of them have. An error
    that nobody expected becomes a response that says nothing but the id; the log gets its traceback."""

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        start, status, started = time.perf_counter(), CLIENT_CLOSED, False

        async def send_with_headers(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            log.exception("%s failed", request_id)
            if started:
                raise
            await error_response(internal_error(request_id))(scope, receive, send_with_headers)
        finally:
            # The path as it was sent, with its escapes, so that a line stays one.
            path = scope.get("raw_path", b"").decode("latin-1")
            duration = 1000 * (time.perf_counter() - start)
            log.info("%s %s %s %d in %.0f ms", request_id, scope["method"], path, status, duration)
