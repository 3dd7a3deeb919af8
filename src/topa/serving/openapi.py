"""The OpenAPI document: what FastAPI can't know, as errors have OpenAI's form and chats may be streamed."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from .events import MEDIA_TYPE as EVENTS
from .schemas import ChatCompletionChunk, ErrorResponse

_REF = "#/components/schemas/{model}"
_ERRORS = {
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
Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int, body: bool = False) -> Responses:
    """Return the `responses` of a route for errors. statuses: beside those that all routes have, and those of routes
    that read a body."""
    every = {400, 401, 403, 500, *statuses, *((408, 413, 415, 429) if body else ())}
    return {status: {"model": ErrorResponse, "description": _ERRORS[status]} for status in sorted(every)}


def content(media_type: str, description: str, *, status: int = 200, binary: bool = False) -> Responses:
    """Return the `responses` of a route that doesn't answer with JSON."""
    schema = {"type": "string", **({"format": "binary"} if binary else {})}
    return {status: {"description": description, "content": {media_type: {"schema": schema}}}}


def events() -> Responses:
    """Return the `responses` of a route that may stream, each event a chunk. `itemSchema` is of OpenAPI 3.2, which is
    the first to know of streams."""
    chunk = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": _REF.format(model=ChatCompletionChunk.__name__)},
    }
    data = {"anyOf": [{"const": "[DONE]"}, chunk]}
    item = {"type": "object", "required": ["data"], "properties": {"data": data}}
    return {200: {"content": {EVENTS: {"itemSchema": item}}}}


def form(field: str) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads a form with a video."""
    file = {"type": "string", "format": "binary", "description": "The video."}
    schema = {"type": "object", "required": [field], "properties": {field: file}}
    content = {"multipart/form-data": {"schema": schema, "encoding": {field: {"contentType": "video/*"}}}}
    return {"requestBody": {"required": True, "content": content}}


class DocumentedApi(FastAPI):
    """An app whose document has all schemas, the headers of all responses, and 400 where FastAPI has 422."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if self.openapi_schema is None:
            _complete(super().openapi())
        return super().openapi()


def _complete(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    schemas |= models_json_schema([(ChatCompletionChunk, "validation")], ref_template=_REF)[1]["$defs"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        operation["responses"].pop("422", None)
        for status, response in operation["responses"].items():
            headers = response.setdefault("headers", {})
            headers["X-Request-Id"] = {
                "description": "The id of the request, for the server's log.",
                "schema": {"type": "string"},
            }
            if status == "429":
                headers["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
