"""From errors to responses: OpenAI's form, a status, and nothing of this machine in the words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..core.errors import ArtifactMismatch, InputError, TopaError, UsageError, VideoError
from .errors import RequestError
from .public import public
from .schemas import UNSUPPORTED

_CODES: tuple[tuple[type[TopaError], str], ...] = (
    (VideoError, "unreadable_video"),
    (InputError, "invalid_input"),
    (UsageError, "invalid_usage"),
    (ArtifactMismatch, "mismatch"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told. retry_after: seconds."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: int | None = None

    @property
    def type(self) -> str:
        """OpenAI's name for errors of this status."""
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "server_error"
        named = {401: "authentication_error", 429: "rate_limit_error"}
        return named.get(self.status, "invalid_request_error")

    def body(self) -> bytes:
        """As JSON in UTF-8."""
        told = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return json.dumps({"error": told}).encode()

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """The whole response. headers: more of them."""
        more = dict(headers or {})
        if self.retry_after is not None:
            more["Retry-After"] = str(self.retry_after)
        if self.status == HTTPStatus.UNAUTHORIZED:
            more["WWW-Authenticate"] = "Bearer"
        return Response(self.body(), self.status, more, "application/json")


def failure_of(error: Exception) -> Failure | None:
    """What to tell of an error; None of one that isn't the request's fault and isn't told."""
    if isinstance(error, RequestError):
        return Failure(error.status, error.code, public(str(error)), error.param, error.retry_after)
    if isinstance(error, ValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _by_status(error.status_code)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    return None if code is None else Failure(HTTPStatus.BAD_REQUEST, code, public(str(error)))


def unexpected(request: str) -> Failure:
    """Of an error that is ours. request: its id, to find the log's words by."""
    return Failure(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        f"the server failed. Its log has the reason under the request's id: {request}",
    )


def invalid(param: str | None, message: str, kind: str = "") -> Failure:
    """Of a field that isn't as it should be. kind: pydantic's type of the error."""
    if param and param.split(".")[0] in UNSUPPORTED:
        words = f"{param}: isn't supported: it would change the answer, and this model can't do it. Leave it out."
        return Failure(HTTPStatus.BAD_REQUEST, "unsupported_parameter", words, param)
    if kind == "json_invalid":
        return Failure(HTTPStatus.BAD_REQUEST, "invalid_json", f"body: {message}; expected an object of JSON.")
    code = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}.get(kind, "invalid_value")
    if kind == "union_tag_invalid":
        code = "unsupported_content"
    return Failure(HTTPStatus.BAD_REQUEST, code, f"{param or 'body'}: {message}", param)


def _invalid(error: ValidationError) -> Failure:
    # Of a field that may be one of several things, the deepest error is of the thing that was meant; and an unknown
    # field may be meant for one that is missing.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = max(found, key=lambda each: (len(each["loc"]), each["type"] == "extra_forbidden"))
    return invalid(_where(told["loc"]), told["msg"], told["type"])


def _where(place: tuple[int | str, ...]) -> str | None:
    """A field's name with dots, without the names of types that pydantic puts between."""
    names = [str(name) for name in place if isinstance(name, int) or (name.isidentifier() and name != "str")]
    kept = [name for name, before in zip(names, ["", *names], strict=False) if name != before]
    return ".".join(kept) or None


def _by_status(status: int) -> Failure:
    if status == HTTPStatus.NOT_FOUND:
        return Failure(status, "not_found", "path: nothing is served here; /openapi.json lists what is.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return Failure(status, "method_not_allowed", "method: this path has others; the header Allow lists them.")
    return Failure(status, "invalid_request", HTTPStatus(status).phrase)
