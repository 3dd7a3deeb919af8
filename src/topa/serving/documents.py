"""The OpenAPI document: what FastAPI can't tell, as bodies are read here and errors have OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from . import schemas
from .events import MEDIA_TYPE as EVENTS
from .forms import FIELD

_REF = "#/components/schemas/{model}"
_WHY = {
    400: "The request isn't as it should be, or its video can't be read.",
    401: "No token of this server.",
    403: "Not allowed: the host, the page's origin, an address, or a change of the library.",
    404: "Not there.",
    408: "The body came too slowly.",
    413: "Too large.",
    415: "Another type of content.",
    416: "The file has no such range.",
    429: "The server is busy; the header Retry-After tells the seconds.",
    500: "The server failed.",
    503: "The answer took too long, or the server isn't ready.",
    507: "The server's disk is full.",
}
_ALWAYS = (400, 401, 403, 500)
_BODIES = (408, 413, 415, 429)
_TITLE = "topa"
_ABOUT = (
    "An aligned model that answers questions about videos: chat completions as OpenAI's clients send them, with a "
    "`video_url` part for the video, and what chat can't express."
)

_APART: tuple[type[BaseModel], ...] = (
    schemas.AskRequest,
    schemas.CaptionRequest,
    schemas.ExplainRequest,
    schemas.SearchRequest,
    schemas.ChatRequest,
    schemas.Chunk,
)
"""What FastAPI doesn't see, as routes read and stream by themselves."""


def takes(body: type[BaseModel]) -> dict[str, Any]:
    """A route's `openapi_extra`: it reads such JSON."""
    content = {"application/json": {"schema": {"$ref": _REF.format(model=body.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def takes_a_file() -> dict[str, Any]:
    """A route's `openapi_extra`: it reads a form with a video."""
    form = {
        "type": "object",
        "required": [FIELD],
        "properties": {FIELD: {"type": "string", "format": "binary", "description": "The video."}},
    }
    content = {"multipart/form-data": {"schema": form, "encoding": {FIELD: {"contentType": "video/*"}}}}
    return {"requestBody": {"required": True, "content": content}}


def gives(
    body: type[BaseModel] | None = None,
    *errors: int,
    status: int = 200,
    about: str = "",
    content: Mapping[str, Any] | None = None,
    reads: bool = False,
) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`. body: of the good one. errors: those that not all routes have. content: other types of
    the good one. reads: whether it reads a body."""
    good: dict[str, Any] = {"description": about or "Done."}
    if body is not None:
        good["model"] = body
    if content is not None:
        good["content"] = dict(content)
    told = {*_ALWAYS, *errors, *(_BODIES if reads else ())}
    return {status: good, **{code: {"model": schemas.Error, "description": _WHY[code]} for code in sorted(told)}}


def plain(media_type: str, *, binary: bool = False) -> dict[str, Any]:
    """A type of content that isn't JSON."""
    return {media_type: {"schema": {"type": "string", **({"format": "binary"} if binary else {})}}}


def events() -> dict[str, Any]:
    """The type of content of a stream, each of whose events is a chunk. `itemSchema` is of OpenAPI 3.2, which is the
    first to know of streams."""
    chunk = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": _REF.format(model=schemas.Chunk.__name__)},
    }
    data = {"anyOf": [{"const": "[DONE]"}, chunk]}
    return {EVENTS: {"itemSchema": {"type": "object", "required": ["data"], "properties": {"data": data}}}}


def describe(app: FastAPI, *, tokens: bool, open_paths: Sequence[str]) -> None:
    """Let the app tell the whole document. tokens: whether they are asked for, at other paths than the open ones."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, tokens=tokens, open_paths=open_paths)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI, *, tokens: bool, open_paths: Sequence[str]) -> dict[str, Any]:
    found = get_openapi(title=_TITLE, version=app.version, description=_ABOUT, routes=app.routes)
    known = found["components"]["schemas"]
    _, own = models_json_schema([(body, "validation") for body in _APART], ref_template=_REF)
    known |= own["$defs"]
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)  # ours are 400
            for response in operation["responses"].values():
                response.setdefault("headers", {})["X-Request-Id"] = {
                    "description": "The id of the request, for the server's log.",
                    "schema": {"type": "string"},
                }
            if busy := operation["responses"].get("429"):
                busy["headers"]["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
            if tokens and path not in open_paths:
                operation["security"] = [{"bearer": []}]
    if tokens:
        found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return found
