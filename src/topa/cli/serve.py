"""The verb that serves: an aligned model over HTTP, and a page."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import InputError, UsageError
from ..core.verbosity import note
from .app import Json, app
from .use import Model

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
TOKENS = "TOPA_TOKENS"
"""Variable of the environment with tokens, separated by commas."""


@app.command(epilog="Example:  topa serve --library kitchen-library --port 8080")
def serve(
    model: Model = None,
    library: Annotated[
        Path | None, typer.Option("--library", help="A library, from topa index, to search and ask about.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Default: this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    name: Annotated[
        str | None, typer.Option("--name", help="What clients call the model. Default: its folder's name, or micro.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help=f"A bearer token a line; only they may ask. Or set {TOKENS}."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", help="Pages of this origin may ask, too: https://example.org."),
    ] = None,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch videos from http(s) addresses that requests name.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="With --allow-urls: also from private and loopback addresses.")
    ] = False,
    batch: Annotated[
        int, typer.Option("--batch", help="Requests that the model answers together; 1 serves one by one.", min=1)
    ] = 64,
    decoders: Annotated[int, typer.Option("--decoders", help="Processes that decode videos.", min=1)] = 2,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads of the model. Default: all cores but one.", min=1)
    ] = None,
    max_upload: Annotated[float, typer.Option("--max-upload", help="Megabytes of a video.", min=0.001)] = 200,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Seconds of a video.", min=0.001)] = 3600,
    max_pixels: Annotated[
        float, typer.Option("--max-pixels", help="Millions of pixels of a picture of a video.", min=0.001)
    ] = 9.5,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", help="Requests at work at a time; more are told to come back.", min=1)
    ] = 128,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Tokens of an answer.", min=1)] = 512,
    log_requests: Annotated[bool, typer.Option("--log-requests", help="Write a line for each request.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Serve a model over HTTP: a page for people, and an API that OpenAI's clients speak. See docs/serving.md."""
    if allow_private and not allow_urls:
        raise UsageError("--allow-private: means nothing without --allow-urls. Give both, or neither.")
    tokens = _tokens(token_file)
    from ..serving.serve import serve as run
    from ..serving.settings import ServerLimits, ServerSettings

    if host not in _LOOPBACK and not tokens:
        note(f"note: everybody who reaches {host} may ask; --token-file FILE asks for a token")
    if model is None:
        note("the micro model knows only the micro world; give --model DIR for your own videos")
    settings = ServerSettings(
        host,
        port,
        name or ("micro" if model is None else Path(model).resolve().name),
        tokens,
        tuple(allow_origin or ()),
        allow_urls,
        allow_private,
        batch,
        decoders,
        ServerLimits(
            upload=int(max_upload * 2**20),
            seconds=max_seconds,
            pixels=int(max_pixels * 1e6),
            waiting=max_waiting,
            tokens=max_tokens,
        ),
    )
    run(
        model,
        library,
        settings,
        threads=threads,
        log_requests=log_requests,
        started=lambda address: started(address, show=open_page, as_json=as_json),
    )


def started(address: str, *, show: bool, as_json: bool = False) -> None:
    """Tell where the server is, once it answers. show: open the page in a browser."""
    where = {"page": address, "api": f"{address}/v1", "openapi": f"{address}/openapi.json"}
    if as_json:
        typer.echo(json.dumps(where))
    else:
        typer.echo(f"page:  {where['page']}")
        typer.echo(f"API:   {where['api']}  (OpenAI's clients; {where['openapi']})")
        typer.echo("stop:  Ctrl-C")
    if show:
        import webbrowser

        if not (_has_screen() and webbrowser.open(address)):
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
