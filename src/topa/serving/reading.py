"""Requests as they are read: one pass of pydantic over the bytes of the body."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from .errors import RequestError

Body = TypeVar("Body", bound=BaseModel)


async def read(request: Request, kind: type[Body]) -> Body:
    """The body of a request. Raises RequestError where it isn't said to be JSON, pydantic's ValidationError where it
    isn't what is expected.

    The type has to be told, as a form of another site's page can send any text, but not with this type.
    """
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if told != "application/json":
        raise RequestError(
            f"content-type: found {told or 'none'}; expected application/json. Set it, as in: curl -H "
            "'Content-Type: application/json'",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="unsupported_media_type",
        )
    return kind.model_validate_json(await request.body())
