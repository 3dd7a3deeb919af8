"""Requests that are refused, with the status and the code that HTTP clients get."""

from __future__ import annotations

from ..core.errors import TopaError


class RequestError(TopaError):
    """A request that can't be served as it is. status: of HTTP. code: for programs, as OpenAI's API has them. param:
    the field at fault. retry_after: seconds, where the same request may succeed later."""

    exit_code = 2

    def __init__(
        self, message: str, *, status: int = 400, code: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after
