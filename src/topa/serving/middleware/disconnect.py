"""Work ends when its client has gone."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from .base import HttpMiddleware


class DisconnectCancellation(HttpMiddleware):
    """Cancels a request's task when its client disconnects.

    Neither FastAPI nor Starlette does so for a route that awaits its answer (test_disconnects): somebody has to listen
    for the client while the app is busy.
    """

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request has no task")
        body: asyncio.Queue[Message] = asyncio.Queue(1)  # after its last part, the app waits for ever
        gone = complete = False

        async def listen() -> None:
            nonlocal gone
            while (message := await receive())["type"] != "http.disconnect":
                await body.put(message)
            if not (complete or task.done()):
                gone = True
                task.cancel()

        async def send_part(message: Message) -> None:
            nonlocal complete  # servers report a client as gone after the last part
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        listener = asyncio.create_task(listen())
        try:
            await self.app(scope, body.get, send_part)
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
        finally:
            listener.cancel()
