"""Work ends when nobody waits for it any more: its client has gone, or it took too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import RequestError

GONE = 499
"""The status that a request is counted under whose client left before the response began, as nginx has it."""


class Attended:
    """Cancels a request's task when its client disconnects.

    Once the body is read, somebody has to listen for the client; the app itself is busy with the answer. A request
    without a body is listened to from the beginning.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        attention = _Attention(receive, send)
        if scope["method"] in ("GET", "HEAD"):
            attention.listen()
        try:
            await self.app(scope, attention.receive, attention.send)
        except asyncio.CancelledError:
            if not attention.gone:
                raise
            attention.task.uncancel()
        finally:
            attention.end()


class _Attention:
    """To one request. gone: its client is, and its task has been cancelled for that."""

    def __init__(self, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request has no task")
        self.task = task
        self.gone = False
        self._receive = receive
        self._send = send
        self._listener: asyncio.Task[None] | None = None
        self._complete = False

    def listen(self) -> None:
        """From now on, and let nobody else receive."""
        self._listener = asyncio.create_task(self._watch())

    def end(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.cancel()

    async def receive(self) -> Message:
        """A part of the body; after the last one, nothing ever comes."""
        if self._listener is not None:
            await asyncio.get_running_loop().create_future()
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._leave()
            await asyncio.sleep(0)
        elif not message.get("more_body", False):
            self.listen()
        return message

    async def send(self, message: Message) -> None:
        """To the client, of whom nothing more is heard after the last part: servers then say that it is gone."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
        await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if not self._complete and not self.task.done():
            self.gone = True
            self.task.cancel()


@asynccontextmanager
async def within(seconds: float, *, at_once: bool = True) -> AsyncIterator[Callable[[], None]]:
    """What is done inside may take so many seconds, from the beginning or from when the value is called. Raises
    RequestError (503, timeout) when it takes longer."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds if at_once else None) as limit:
            yield lambda: limit.reschedule(loop.time() + seconds)
    except TimeoutError:
        if not limit.expired():
            raise
        raise timed_out(seconds) from None


def timed_out(seconds: float) -> RequestError:
    """What is told of an answer that was given up."""
    return RequestError(
        f"the request took more than {seconds:g} seconds and was given up; expected less. Ask for fewer tokens "
        "(max_tokens) or of a shorter video, or try again when the server is less busy.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code="timeout",
    )
