"""The real application on a real socket, in a thread of this process."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topa.hosting import address, listen
from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.serving.settings import Settings


@contextmanager
def hosted(engine: Topa, settings: Settings, contents: Contents | None = None) -> Iterator[str]:
    """The address of a server that runs until the end of the block."""
    import uvicorn

    from topa.serving.app import create_app
    from topa.serving.service import Service

    listener = listen("127.0.0.1", 0)
    servers: list[uvicorn.Server] = []
    ready = threading.Event()

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            service = Service(engine, settings, Path(folder), contents)
            try:
                app = create_app(service, settings)
                servers.append(uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5)))
                ready.set()
                await servers[0].serve([listener])
            finally:
                ready.set()
                await service.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait()
    try:
        assert servers, "the server did not start"
        yield address(listener)
    finally:
        for server in servers:
            server.should_exit = True
        thread.join()
