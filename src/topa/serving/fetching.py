"""Videos that a request names by an address: data URIs, and http(s) where the server allows it."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncGenerator, Iterator
from functools import cache
from ssl import SSLContext
from urllib.parse import unquote, urljoin, urlsplit

import httpcore2

from .addresses import CheckedBackend
from .errors import RequestError
from .settings import Settings
from .uploads import shown

_SECONDS = 60.0  # for all of a video; one that comes in drops would keep its place for ever
_TIMEOUTS = {"connect": 10.0, "read": 20.0, "write": 10.0, "pool": 10.0}
_REDIRECTS = 3
_MOVED = (301, 302, 303, 307, 308)
_PORTS = (80, 443)
_HEADERS = {"User-Agent": "topa", "Accept": "video/*, */*;q=0.5", "Accept-Encoding": "identity"}
_CHUNK = 1 << 16
_LONGEST = 4096
_FAILURES = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError)


async def fetch(reference: str, settings: Settings) -> AsyncGenerator[bytes, None]:
    """The bytes of a video, chunk by chunk.

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
    """What a video at an address is called, to be shown: its file, without what else a link has in it."""
    try:
        return shown(unquote(urlsplit(reference).path) if _scheme(reference) in ("http", "https") else "")
    except ValueError:
        return shown("")


def _scheme(reference: str) -> str:
    """Looks at the beginning alone: a reference may be a whole video, which `urlsplit` would keep in its cache."""
    return reference[: len("https:")].partition(":")[0].lower()


def _inline(reference: str, most: int) -> Iterator[bytes]:
    """The bytes of a data URI."""
    head, comma, body = reference.partition(",")
    kind, *parameters = head[len("data:") :].lower().split(";")
    video = kind.startswith("video/") or kind == "application/octet-stream"
    if not comma or not video or parameters[-1:] != ["base64"]:
        raise _error("bad_video_url", "found another data URI; expected data:video/mp4;base64, with its bytes behind")
    if len(body) // 4 * 3 - body[-2:].count("=") > most:
        raise _too_large(most)
    for start in range(0, len(body), _CHUNK):
        part = body[start : start + _CHUNK]
        try:
            decoded = b64decode(part, validate=True)
        except ValueError as error:
            raise _error("bad_video_url", "found broken base64; expected its plain alphabet, padded") from error
        if len(decoded) < len(part) // 4 * 3 and start + _CHUNK < len(body):
            raise _error("bad_video_url", "found base64 that ends before its end; expected one whole")
        yield decoded


async def _download(address: str, settings: Settings) -> AsyncGenerator[bytes, None]:
    most = settings.limits.upload
    backend = CheckedBackend(settings.private)
    try:
        async with httpcore2.AsyncConnectionPool(ssl_context=_tls(), network_backend=backend) as pool:
            for _ in range(_REDIRECTS + 1):
                url, host = _parsed(address, settings.private)
                headers = [("Host", host), *_HEADERS.items()]
                async with pool.stream("GET", url, headers=headers, extensions={"timeout": _TIMEOUTS}) as answer:
                    told = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
                    if answer.status in _MOVED and b"location" in told:
                        address = _joined(address, told[b"location"])
                        continue
                    _check(answer.status, told, most)
                    size = 0
                    async for chunk in answer.aiter_stream():
                        size += len(chunk)
                        if size > most:
                            raise _too_large(most)
                        yield chunk
                    return
    except _FAILURES as error:
        raise _failed("it can't be reached, or breaks off; expected it to send a video") from error
    raise _failed(f"found more than {_REDIRECTS} redirects; expected the video")


@cache
def _tls() -> SSLContext:
    return httpcore2.default_ssl_context()


def _parsed(address: str, private: bool) -> tuple[httpcore2.URL, str]:
    """What to ask, and of whom. Strict, so that no two readers of an address take it for two different ones."""
    wrong = "found an address that is malformed; expected https://host/path, percent-encoded"
    if (
        len(address) > _LONGEST
        or not address.isascii()
        or not address.isprintable()
        or " " in address
        or "\\" in address
    ):
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


def _joined(address: str, location: str) -> str:
    try:
        return urljoin(address, location)
    except ValueError as error:
        raise _failed("found a redirect to a malformed address; expected the video") from error


def _check(status: int, headers: dict[bytes, str], most: int) -> None:
    if status != 200:
        raise _failed(f"found status {status}; expected 200 with a video")
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        raise _failed("found compressed content; expected the video as it is")
    if int(headers.get(b"content-length", 0)) > most:  # HTTP's own rules have been checked: it is a number
        raise _too_large(most)


def _failed(found: str) -> RequestError:
    return _error("video_url_failed", f"{found}. Check the address, or upload the video instead")


def _too_large(most: int) -> RequestError:
    return _error("too_large", f"found more than {most} bytes; expected at most so many. Make it smaller", status=413)


def _error(code: str, text: str, status: int = 400) -> RequestError:
    return RequestError(f"video: {text}.", status=status, code=code, param="video")
