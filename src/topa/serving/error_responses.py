"""Error responses: OpenAI's form, a status, and nothing about this machine in the message."""

from __future__ import annotations

from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..core.errors import ArtifactMismatch, InputError, TopaError, UsageError, VideoError
from .errors import RequestError
from .redaction import redact
from .schemas import ErrorObject, ErrorResponse, UnsupportedFields

_CODES: tuple[tuple[type[TopaError], str], ...] = (
    (VideoError, "unreadable_video"),
    (InputError, "invalid_input"),
    (UsageError, "invalid_usage"),
    (ArtifactMismatch, "mismatch"),
)
_STATUSES = {
    404: ("not_found", "path: nothing is served here; /openapi.json lists what is."),
    405: ("method_not_allowed", "method: this path has others; the header Allow lists them."),
}


def as_request_error(error: Exception) -> RequestError | None:
    """Return what the client is told of an error; None where the request isn't at fault."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        return _of_status(error.status_code)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    return None if code is None else RequestError(str(error), code=code)


def internal_error(request_id: str) -> RequestError:
    """Return the error for a failure of the server. request_id: finds the reason in the log."""
    return RequestError(
        f"the server failed. Its log has the reason under the request's id: {request_id}",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        code="internal_error",
    )


def error_body(error: RequestError) -> bytes:
    """Return the JSON of an error, in UTF-8."""
    content = ErrorObject(message=redact(str(error)), type=error.type, param=error.param, code=error.code)
    return ErrorResponse(error=content).model_dump_json().encode()


def error_response(error: RequestError, headers: dict[str, str] | None = None) -> Response:
    """Return the whole response. headers: additional ones."""
    extra = dict(headers or {})
    if error.retry_after is not None:
        extra["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = "Bearer"
    return Response(error_body(error), error.status, extra, "application/json")


def _of_validation(error: RequestValidationError) -> RequestError:
    if isinstance(error.body, bytes):  # FastAPI reads nothing but JSON: a form of another site's page can't say that
        return RequestError(
            "content-type: found another one; expected application/json. Set it, as in: curl -H "
            "'Content-Type: application/json'",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            code="unsupported_media_type",
        )
    details = error.errors()
    if details[0]["loc"][0] == "path":  # an id that can't be one
        return _of_status(HTTPStatus.NOT_FOUND)
    # Of a field that may be one of several things, the deepest error is of the thing that was meant; and an unknown
    # field may be meant for one that is missing.
    detail = max(details, key=lambda each: (len(each["loc"]), each["type"] == "extra_forbidden"))
    kind, message, param = detail["type"], detail["msg"], _field(detail["loc"][1:])
    if kind in ("json_invalid", "string_unicode") or (kind == "missing" and param is None):
        return _invalid_json(detail["ctx"]["error"] if kind == "json_invalid" else message)
    if param and param.split(".")[0] in UnsupportedFields.model_fields:
        message = "isn't supported: it would change the answer, and this model can't do it. Leave it out."
        return RequestError(f"{param}: {message}", code="unsupported_parameter", param=param)
    code = {
        "missing": "missing_required_parameter",
        "extra_forbidden": "unknown_parameter",
        "union_tag_invalid": "unsupported_content",
    }.get(kind, "invalid_value")
    return RequestError(f"{param or 'body'}: {message}", code=code, param=param)


def _field(location: tuple[int | str, ...]) -> str | None:
    """Return a field's name with dots, without the names of types that pydantic puts between."""
    names = [str(name) for name in location if isinstance(name, int) or (name.isidentifier() and name != "str")]
    return ".".join(name for name, before in zip(names, ["", *names], strict=False) if name != before) or None


def _invalid_json(message: str) -> RequestError:
    return RequestError(f"body: {message}; expected an object of JSON.", code="invalid_json")


def _of_status(status: int) -> RequestError:
    if status == HTTPStatus.BAD_REQUEST:  # FastAPI raises it for a body that the JSON parser fails on
        return _invalid_json("can't be parsed")
    code, message = _STATUSES.get(status, ("invalid_request", HTTPStatus(status).phrase))
    return RequestError(message, status=status, code=code)
