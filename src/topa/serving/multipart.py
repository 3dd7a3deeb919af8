"""The file of a multipart form, as it arrives: nothing of it is stored here, in memory or on the disk.

FastAPI's `UploadFile` stores the whole form before a route begins: too late for an upload's limits
(test_the_content_comes_as_it_is_sent, test_nothing_is_left_of_an_upload_that_breaks_off).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .errors import RequestError

FIELD = "file"
_MAX_HEADERS = 8 << 10  # bytes that the headers of a part may have


async def read_file(content_type: str, body: AsyncIterator[bytes]) -> tuple[str, AsyncGenerator[bytes, None]]:
    """Return the file's name as its sender has it ("" without one) and its content in chunks.

    content_type: of the request. body: its chunks. Other fields before and after the file are skipped. Raises
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
        form = _Form(boundary, body)
    except FormParserError as error:
        raise _damaged(str(error)) from None
    while await form.feed():
        if form.found:
            return form.name, form.read()
    raise RequestError(
        "file: found no such field; expected the video in it. Send it, as in: curl -F file=@video.mp4",
        code="missing_required_parameter",
        param=FIELD,
    )


class _Form:
    """A form while it is read. found: the file has begun. name: of the file."""

    def __init__(self, boundary: bytes, body: AsyncIterator[bytes]) -> None:
        self.found = False
        self.name = ""
        self._body = body
        self._content = bytearray()  # of the file, that has arrived and wasn't taken yet
        self._inside = self._ended = False
        self._headers: list[bytearray] = []  # of a part: names and values in turn
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_begin": lambda: self._headers.extend((bytearray(), bytearray())),
                "on_header_field": lambda *data: self._add_header(-2, *data),
                "on_header_value": lambda *data: self._add_header(-1, *data),
                "on_headers_finished": self._open,
                "on_part_data": self._add_content,
                "on_end": self._end,
            },
        )

    async def feed(self) -> bool:
        """Read the next chunk of the body; False at its end."""
        chunk = await anext(self._body, None)
        if chunk is None:
            if not self._ended:
                raise _damaged("it ends too early")
            return False
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _damaged(str(error)) from None
        return True

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield the file's content as it arrives."""
        more = True
        while more:
            if self._content:
                yield bytes(self._content)
                self._content.clear()
            more = await self.feed()

    def _add_header(self, index: int, data: bytes, start: int, end: int) -> None:
        self._headers[index] += data[start:end]
        if sum(map(len, self._headers)) > _MAX_HEADERS:
            raise _damaged("a part's headers are too long")

    def _open(self) -> None:
        headers = {
            bytes(name).lower(): bytes(value)
            for name, value in zip(self._headers[::2], self._headers[1::2], strict=True)
        }
        _, options = parse_options_header(headers.get(b"content-disposition"))
        self._inside = options.get(b"name") == FIELD.encode()
        if self._inside and self.found:
            raise RequestError("file: found more than one; expected one. Upload them one by one.", code="invalid_form")
        if self._inside:
            self.found = True
            self.name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._content += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _damaged(reason: str) -> RequestError:
    return RequestError(f"form: {reason}; expected multipart/form-data. Send it again.", code="invalid_form")
