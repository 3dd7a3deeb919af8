"""A real server in a thread of its own, on a port that the system chose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn

from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.serving.app import create_app
from topa.serving.serve import listen
from topa.serving.service import Service
from topa.serving.settings import ServerSettings


@dataclass(frozen=True)
class Running:
    """url: where it is. service: what it serves; use it through `do`. folder: of its uploads."""

    url: str
    service: Service
    folder: Path
    loop: asyncio.AbstractEventLoop

    def do(self, call: Callable[[], Any]) -> Any:
        """In the server's loop."""

        async def run() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(60)


@contextmanager
def running(
    engine: Topa,
    settings: ServerSettings | None = None,
    contents: Contents | None = None,
    wrap: Callable[[Any], Any] = lambda app: app,
) -> Iterator[Running]:
    """Serve an engine until the block ends. wrap: put something around the app."""
    known = settings or ServerSettings()
    ready = threading.Event()
    found: list[Running] = []
    failed: list[BaseException] = []
    listener = listen("127.0.0.1", 0)
    server: list[uvicorn.Server] = []

    async def main(folder: Path) -> None:
        service = Service(engine, known, folder, contents)
        try:
            app = wrap(create_app(service, known))
            settings = {"log_level": "warning", "access_log": False, "ws": "none", "timeout_graceful_shutdown": 10}
            config = uvicorn.Config(app, **settings)
            server.append(uvicorn.Server(config))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            found.append(Running(url, service, folder, asyncio.get_running_loop()))
            ready.set()  # whoever connects before it accepts waits in the socket's queue
            await server[0].serve([listener])
        finally:
            await service.close()

    def run() -> None:
        try:
            with TemporaryDirectory() as folder:
                asyncio.run(main(Path(folder)))
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(120)
    if failed:
        raise failed[0]
    try:
        yield found[0]
    finally:
        server[0].should_exit = True
        thread.join(60)
        if failed:
            raise failed[0]
