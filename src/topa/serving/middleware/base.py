"""What all middleware here has in common.

Plain ASGI: Starlette's `BaseHTTPMiddleware` runs the app in a task of its own and hides a client's leaving from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from starlette.types import ASGIApp, Receive, Scope, Send

from ..error_responses import error_response
from ..errors import RequestError

API = "/v1/"
UPLOADS = "/v1/videos"
CLIENT_CLOSED = 499
"""nginx's status for a request whose client left before the response began."""


class HttpMiddleware(ABC):
    """Handles HTTP requests and passes on everything else, such as the server's start."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        await (self._handle if scope["type"] == "http" else self.app)(scope, receive, send)

    @abstractmethod
    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an HTTP request."""


class AccessCheck(HttpMiddleware):
    """Lets a request pass, or refuses it."""

    @abstractmethod
    def _refusal(self, scope: Scope) -> RequestError | None:
        """Return why a request may not pass."""

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope)
        await (self.app if refused is None else error_response(refused))(scope, receive, send)
