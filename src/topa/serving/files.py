"""A video's file as it is asked for: all of it, or a range, which players need to jump."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from .failures import Failure

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def send_file(request: Request, path: Path, media_type: str) -> Response:
    """The file, or the range that the request has. What isn't one range is as if it weren't there, as HTTP allows."""
    told = request.headers.get("range", "").replace(" ", "").lower()
    match = _RANGE.fullmatch(told)
    if match is None or not (match[1] or match[2]) or (match[1] and match[2] and int(match[2]) < int(match[1])):
        request.scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
    elif (match[1] and int(match[1]) >= (size := path.stat().st_size)) or (not match[1] and not int(match[2])):
        size = path.stat().st_size
        return Failure(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range_not_satisfiable",
            f"range: found {told}; expected a part of {size} bytes. Ask for less.",
            "range",
        ).response({"Content-Range": f"bytes */{size}"})
    return FileResponse(
        path,
        media_type=media_type,
        headers={"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, no-cache"},
    )
