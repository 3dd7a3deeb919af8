"""Videos that a request refers to by an address: data URIs, and http(s) where the server allows it."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import AsyncGenerator, Iterator
from functools import cache
from ssl import SSLContext
from urllib.parse import unquote, urljoin, urlsplit

import httpcore2

from .addresses import CheckedBackend
from .errors import RequestError
from .settings import ServerSettings
from .uploads import display_name, too_large

_SECONDS = 60.0  # for all of a video; one that comes in drops would occupy its place for ever
_TIMEOUTS = {"connect": 10.0, "read": 20.0, "write": 10.0, "pool": 10.0}
_REDIRECTS = 3
_MOVED = (301, 302, 303, 307, 308)
_PORTS = (80, 443)
_HEADERS = {"User-Agent": "topa", "Accept": "video/*, */*;q=0.5", "Accept-Encoding": "identity"}
_CHUNK = 1 << 16
_MAX_ADDRESS = 4096
_FAILURES = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError)


async def fetch(reference: str, settings: ServerSettings) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a video.

    Raises RequestError: 400 `bad_video_url` for what is no such address, `video_url_failed` where no video comes from
    it, 403 `urls_not_allowed` and `address_not_allowed`, 413 `too_large`.
    """
    scheme = _scheme(reference)
    if scheme == "data":
        for part in _inline(reference, settings.limits.upload):
            yield part
        return
    if scheme not in ("http", "https"):
        raise _error("bad_video_url", "found no address of a video; expected data:, http:// or https://, or its id")
    if not settings.urls:
        raise _error("urls_not_allowed", "this server fetches none from addresses. Upload it instead", status=403)
    deadline = asyncio.get_running_loop().time() + _SECONDS
    chunks = _download(reference, settings)
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline):  # not around the yield: it would strike the taker
                    chunk = await anext(chunks, None)
            except TimeoutError as error:
                raise _failed(f"found no end of it after {_SECONDS:g} s; expected all of it by then") from error
            if chunk is None:
                return
            yield chunk
    finally:
        await chunks.aclose()


def name_of(reference: str) -> str:
    """Return the name for display of a video at an address: its file's, without what else a link has in it."""
    try:
        return display_name(unquote(urlsplit(reference).path) if _scheme(reference) in ("http", "https") else "")
    except ValueError:
        return display_name("")


def _scheme(reference: str) -> str:
    """Return the scheme, from the beginning alone: `urlsplit` would keep a whole video in its cache."""
    return reference[: len("https:")].partition(":")[0].lower()


def _inline(reference: str, limit: int) -> Iterator[bytes]:
    """Yield the bytes of a data URI."""
    head, comma, body = reference.partition(",")
    kind, *parameters = head[len("data:") :].lower().split(";")
    video = kind.startswith("video/") or kind == "application/octet-stream"
    if not comma or not video or parameters[-1:] != ["base64"]:
        raise _error("bad_video_url", "found another data URI; expected data:video/mp4;base64, with its bytes behind")
    if len(body) // 4 * 3 - body[-2:].count("=") > limit:
        raise too_large(limit)
    for start in range(0, len(body), _CHUNK):
        part = body[start : start + _CHUNK]
        try:
            decoded = b64decode(part, validate=True)
        except ValueError as error:
            raise _error("bad_video_url", "found broken base64; expected its plain alphabet, padded") from error
        if len(decoded) < len(part) // 4 * 3 and start + _CHUNK < len(body):
            raise _error("bad_video_url", "found base64 that ends before its end; expected one whole")
        yield decoded


async def _download(address: str, settings: ServerSettings) -> AsyncGenerator[bytes, None]:
    limit = settings.limits.upload
    backend = CheckedBackend(settings.private)
    try:
        async with httpcore2.AsyncConnectionPool(ssl_context=_tls(), network_backend=backend) as pool:
            for _ in range(_REDIRECTS + 1):
                url, host = _parse(address, settings.private)
                headers = [("Host", host), *_HEADERS.items()]
                async with pool.stream("GET", url, headers=headers, extensions={"timeout": _TIMEOUTS}) as response:
                    received = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                    if response.status in _MOVED and b"location" in received:
                        address = _join(address, received[b"location"])
                        continue
                    _check(response.status, received, limit)
                    size = 0
                    async for chunk in response.aiter_stream():
                        size += len(chunk)
                        if size > limit:
                            raise too_large(limit)
                        yield chunk
                    return
    except _FAILURES as error:
        raise _failed("it can't be reached, or breaks off; expected it to send a video") from error
    raise _failed(f"found more than {_REDIRECTS} redirects; expected the video")


@cache
def _tls() -> SSLContext:
    return httpcore2.default_ssl_context()


def _parse(address: str, private: bool) -> tuple[httpcore2.URL, str]:
    """Return the URL and the host. Strict, so that no two readers of an address take it for two different ones."""
    wrong = "found an address that is malformed; expected https://host/path, percent-encoded"
    if len(address) > _MAX_ADDRESS or not re.fullmatch(r"[!-\[\]-~]*", address):  # printable ASCII without blank and \
        raise _error("bad_video_url", wrong)
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise _error("bad_video_url", wrong) from error
    if parts.scheme not in ("http", "https") or not host:
        raise _error("bad_video_url", wrong)
    if "@" in parts.netloc:
        raise _error("bad_video_url", "found a user's name or a password in the address; expected none. Leave them out")
    if port not in (None, *_PORTS) and not private:
        raise _error("address_not_allowed", f"found the port {port}; expected 80 or 443", status=403)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore2.URL(scheme=parts.scheme, host=host, port=port, target=target), parts.netloc


def _join(address: str, location: str) -> str:
    try:
        return urljoin(address, location)
    except ValueError as error:
        raise _failed("found a redirect to a malformed address; expected the video") from error


def _check(status: int, headers: dict[bytes, str], limit: int) -> None:
    if status != 200:
        raise _failed(f"found status {status}; expected 200 with a video")
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        raise _failed("found compressed content; expected the video as it is")
    if int(headers.get(b"content-length", 0)) > limit:  # HTTP's own rules have been checked: it is a number
        raise too_large(limit)


def _failed(reason: str) -> RequestError:
    return _error("video_url_failed", f"{reason}. Check the address, or upload the video instead")


def _error(code: str, text: str, status: int = 400) -> RequestError:
    return RequestError(f"video: {text}.", status=status, code=code, param="video")
