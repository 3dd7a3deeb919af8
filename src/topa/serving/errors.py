"""Requests that are refused, with the status and the code that HTTP clients get."""

from __future__ import annotations

from http import HTTPStatus

from ..core.errors import TopaError


class RequestError(TopaError):
    """A request that can't be served. status: the HTTP status. code: for programs, as in OpenAI's API. param: the field
    at fault. retry_after: seconds, where the same request may succeed later."""

    exit_code = 2

    def __init__(
        self, message: str, *, status: int = 400, code: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after

    @property
    def type(self) -> str:
        """OpenAI's name for errors of this status."""
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "server_error"
        return {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
