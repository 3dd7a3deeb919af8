"""What routes depend on: the service, and the time that an answer may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from ..deadlines import time_limit
from ..service import Service


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(_service)]


async def _deadline(service: ServiceDependency) -> AsyncIterator[float]:
    seconds = service.settings.limits.request_seconds
    async with time_limit(seconds):
        yield asyncio.get_running_loop().time() + seconds


DEADLINE = Depends(_deadline, scope="function")
"""Gives a route up that takes too long; its value is when, on the loop's clock."""
