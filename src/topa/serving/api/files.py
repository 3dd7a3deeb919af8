"""A video's file as it is requested: all of it, or a range, which players need to jump."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from ..error_responses import error_response
from ..errors import RequestError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def send_file(request: Request, path: Path, media_type: str) -> Response:
    """Return the file, or the range that the request names. What isn't one range is ignored, as HTTP allows.

    `FileResponse` answers such a one with 400, and one behind the end without our error (test_api,
    test_ranges_that_are_none and test_ranges_behind_the_end).
    """
    wanted = request.headers.get("range", "").replace(" ", "").lower()
    match = _RANGE.fullmatch(wanted)
    start, end = (match[1], match[2]) if match else ("", "")
    if not (start or end) or (start and end and int(end) < int(start)):
        request.scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
    elif (int(start) >= path.stat().st_size) if start else not int(end):
        size = path.stat().st_size
        error = RequestError(
            f"range: found {wanted}; expected a part of {size} bytes. Ask for less.",
            status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            code="range_not_satisfiable",
            param="range",
        )
        return error_response(error, {"Content-Range": f"bytes */{size}"})
    return FileResponse(
        path,
        media_type=media_type,
        headers={"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, no-cache"},
    )
