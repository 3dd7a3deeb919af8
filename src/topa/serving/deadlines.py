"""Time limits of requests: work ends when it takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from .errors import RequestError


@asynccontextmanager
async def time_limit(seconds: float, *, running: bool = True) -> AsyncIterator[Callable[[], None]]:
    """Give the block a number of seconds, from its beginning or, unless running, from when the yielded function is
    called. Raises RequestError (503, timeout) when it takes longer."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds if running else None) as limit:
            yield lambda: limit.reschedule(loop.time() + seconds)
    except TimeoutError:
        if not limit.expired():
            raise
        raise timed_out(seconds) from None


def timed_out(seconds: float) -> RequestError:
    """Return the error for an answer that was given up."""
    return RequestError(
        f"the request took more than {seconds:g} seconds and was given up; expected less. Ask for fewer tokens "
        "(max_tokens) or of a shorter video, or try again when the server is less busy.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code="timeout",
    )
