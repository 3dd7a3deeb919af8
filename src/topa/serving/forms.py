"""The file of a form, as it comes: nothing of it is kept here, in memory or on the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .errors import RequestError

FIELD = "file"
_HEADERS = 8 << 10  # bytes of headers that a part may have


async def file_of(content_type: str, body: AsyncIterator[bytes]) -> tuple[str, AsyncGenerator[bytes, None]]:
    """The name of the file, as its sender has it ("" without one), and its content in parts.

    content_type: of the request. body: its parts. Other fields before and after the file are read over. Raises
    RequestError for another form (415), for one without a file or that is damaged (400), at once or while the content
    is read.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise RequestError(
            "content-type: expected multipart/form-data with a boundary and the video in the field `file`, as in: "
            "curl -F file=@video.mp4",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="unsupported_media_type",
        )
    try:
        form = _Form(boundary)
    except FormParserError as error:
        raise _damaged(str(error)) from None
    parts = form.parts(body)
    async for _ in parts:
        return form.name, _content(parts, form)
    raise RequestError(
        "file: found no such field; expected the video in it. Send it, as in: curl -F file=@video.mp4",
        code="missing_required_parameter",
        param=FIELD,
    )


async def _content(parts: AsyncGenerator[None, None], form: _Form) -> AsyncGenerator[bytes, None]:
    while form.found:
        yield form.found.popleft()
    async for _ in parts:
        while form.found:
            yield form.found.popleft()


class _Form:
    """A form while it is read. name: of the file. found: content that has come and wasn't taken yet."""

    def __init__(self, boundary: bytes) -> None:
        self.name = ""
        self.found: deque[bytes] = deque()
        self._seen = False
        self._inside = False
        self._ended = False
        self._key = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._add,
                "on_header_end": self._header,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )

    async def parts(self, body: AsyncIterator[bytes]) -> AsyncGenerator[None, None]:
        """Yields when the file has begun, and whenever more of it may have come."""
        async for chunk in body:
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise _damaged(str(error)) from None
            if self._seen:
                yield
        if not self._ended:
            raise _damaged("it ends too early")

    def _begin(self) -> None:
        self._headers, self._key, self._value = {}, b"", b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]
        self._check()

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check()

    def _header(self) -> None:
        self._headers[self._key.lower()] = self._value
        self._key, self._value = b"", b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if options.get(b"name") != FIELD.encode():
            return
        if self._seen:
            raise RequestError("file: found more than one; expected one. Upload them one by one.", code="invalid_form")
        self.name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._seen = self._inside = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self.found.append(data[start:end])

    def _close(self) -> None:
        self._inside = False

    def _end(self) -> None:
        self._ended = True

    def _check(self) -> None:
        if len(self._key) + len(self._value) + sum(map(len, self._headers.values())) > _HEADERS:
            raise _damaged("a part's headers are too long")


def _damaged(why: str) -> RequestError:
    return RequestError(f"form: {why}; expected multipart/form-data. Send it again.", code="invalid_form")
