"""The verb `serve`: a server is started, and says where it is."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from ..core.errors import InputError
from ..core.printable import Printable
from ..core.verbosity import note
from .serve import serve
from .settings import ServerLimits, ServerSettings
from .verbs import TOKENS, ServeConfig

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServerAddress(Printable):
    """Where a server is that answers."""

    page: str
    indent: ClassVar[int | None] = None  # a program reads it as a line, while the server goes on

    def as_json(self) -> dict[str, str]:
        """Plain JSON."""
        return {"page": self.page, "api": f"{self.page}/v1", "openapi": f"{self.page}/openapi.json"}

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        where = self.as_json()
        yield f"page:  {where['page']}"
        yield f"API:   {where['api']}  (OpenAI's clients; {where['openapi']})"
        yield "stop:  Ctrl-C"


def start(config: ServeConfig, *, show: Callable[[ServerAddress], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. show: told the address once requests are answered. Raises as `serve` does, and
    InputError for a file of tokens that can't be used."""
    tokens = _tokens(config.token_file)
    if config.host not in _LOOPBACK and not tokens:
        note(f"note: everybody who reaches {config.host} may ask; --token-file FILE asks for a token")
    if config.model is None:
        note("the micro model knows only the micro world; give --model DIR for your own videos")
    limits = ServerLimits(
        upload=int(config.max_upload * 2**20),
        seconds=config.max_seconds,
        pixels=int(config.max_pixels * 1e6),
        waiting=config.max_waiting,
        tokens=config.max_tokens,
    )
    settings = ServerSettings(
        config.host,
        config.port,
        config.name or ("micro" if config.model is None else Path(config.model).resolve().name),
        tokens,
        config.allow_origin,
        config.allow_urls,
        config.allow_private,
        config.batch,
        config.decoders,
        limits,
    )
    started = partial(announce, show=show, open_page=config.open_page)
    threads, log_requests = config.threads, config.log_requests
    serve(config.model, config.library, settings, threads=threads, log_requests=log_requests, started=started)


def announce(address: str, show: Callable[[ServerAddress], None], *, open_page: bool) -> None:
    """Say where a server is, and open its page in a browser where that is asked for."""
    show(ServerAddress(address))
    if open_page and not (_has_screen() and webbrowser.open(address)):
        note(f"note: found no browser to open; go to {address}")


def _has_screen() -> bool:
    """Whether a browser can show a page. Without a screen Python would take one that runs in the terminal."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))


def _tokens(file: Path | None) -> tuple[str, ...]:
    found = [token.strip() for token in os.environ.get(TOKENS, "").split(",")]
    if file is not None:
        try:
            found += [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: can't be read ({error}); expected a token a line. Check the name.") from error
        if not any(found):
            raise InputError(f"{file}: found no token; expected one a line. Write one, such as openssl rand -hex 32.")
    tokens = tuple(token for token in found if token)
    if bad := [token for token in tokens if not token.isascii() or " " in token]:
        raise InputError(f"tokens: {len(bad)} with blanks or characters beyond ASCII; expected one word each.")
    return tokens
