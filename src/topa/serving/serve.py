"""A model and a library behind HTTP, put together from their parts: the verb `serve`.

Used by the command line, and by `topa demo --serve`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ..core.errors import UsageError
from ..core.install import install_line
from ..core.progress import console
from ..features.guard import unbound
from ..inference.engine import Topa
from ..library.contents import Contents
from ..library.index import Wanted
from ..library.library import Library, expect_encoder, make
from ..models.saved import read_config
from ..training.pretrained import load
from .settings import ServerSettings

GRACE = 30
"""Seconds that requests have to end after SIGTERM or Ctrl-C."""


def serve(
    model: str | Path | None,
    library: Path | None,
    settings: ServerSettings,
    *,
    threads: int | None = None,
    log_requests: bool = False,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; what runs then is finished.

    model: a saved model, or the micro model. threads: of the model; by default as many as there are cores, less one,
    which receives, decodes and sends. log_requests: a line for each goes to stderr. started: told the address once
    requests are answered. Raises UsageError where the address can't be listened on or a package is missing, and what
    loading raises.
    """
    expect_packages()
    contents = None if library is None else Library.open(library).contents
    if loose := unbound():
        console.print(
            f"warning: on this system the decoding of a video is bound by the clock alone, not in {loose}. Serve "
            "strangers from a container: docs/serving.md",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
    listener = listen(settings.host, settings.port)  # a port that is taken is told before a model is loaded
    if contents is not None:
        expect_encoder(contents, model)
    engine = load(model)
    _limit_threads(threads)
    if log_requests:
        _log_requests()
    from uvicorn.loops.auto import auto_loop_factory

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(host(engine, contents, settings, listener, started=started))


def missing_packages() -> list[str]:
    """Packages of the extra `serve` that aren't installed."""
    needed = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "httpcore2")
    return [name for name in needed if not find_spec(name)]


def expect_packages() -> None:
    """Raise UsageError where serving needs a package that isn't installed."""
    if missing := missing_packages():
        raise UsageError(f"serve: needs {', '.join(missing)}. Install what serving needs: {install_line('serve')}")


def serve_demo(out: Path, seed: int, port: int, *, started: Callable[[str], None] = lambda _: None) -> None:
    """Serve what a finished demo has left in `out`: its model, and its videos as a library. Raises as `serve` does."""
    library = out / "library"
    make([str(out / "videos")], library, Wanted(encoder=read_config(out / f"model-{seed}").encoder))
    serve(out / f"model-{seed}", library, ServerSettings(port=port, name="micro"), started=started)


async def host(
    engine: Topa,
    contents: Contents | None,
    settings: ServerSettings,
    listener: socket.socket,
    *,
    started: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a loaded model on a socket that listens, as `serve` does."""
    import uvicorn

    from .app import create_app
    from .service import Service

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started(address(listener))

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """The signal isn't raised again afterwards: that would end the process before it has cleared up."""
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {which: signal.signal(which, self.handle_exit) for which in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for which, handler in before.items():
                    signal.signal(which, handler)

    with tempfile.TemporaryDirectory(prefix="topa-") as folder:
        service = Service(engine, settings, Path(folder), contents)
        try:
            config = uvicorn.Config(
                create_app(service, settings),
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",  # nothing here speaks it
                timeout_graceful_shutdown=GRACE,
            )
            await Server(config).serve([listener])
        finally:
            await service.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises UsageError where it can't."""
    try:
        family, kind, protocol, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)  # asyncio sends at once where the protocol says TCP
        if sys.platform != "win32":  # where it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        raise UsageError(
            f"serve: can't listen on {host}, port {port} ({error.strerror}); expected a free port of this machine. "
            "Give another one: --port 0 takes any."
        ) from error
    listener.listen(2048)
    return listener


def address(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - all addresses; a browser here takes this one
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _log_requests() -> None:
    log, lines = logging.getLogger("topa.serving"), logging.StreamHandler()
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False  # or it would be told twice


def _limit_threads(wanted: int | None) -> None:
    import torch

    if wanted is not None:
        torch.set_num_threads(wanted)
    elif not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
