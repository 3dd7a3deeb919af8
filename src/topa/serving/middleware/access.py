"""Who may use the server: pages of this server or of allowed origins, and clients with a token."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from ..errors import RequestError
from ..settings import ServerSettings
from .base import API, AccessCheck


class OriginCheck(AccessCheck):
    """Keeps pages of other sites from using the server through their visitor's browser.

    A browser says which page a request is from (Origin): it must be one of this server or an allowed one. A page whose
    name was pointed here afterwards (DNS rebinding) is from this server, as far as the browser knows. So, unless there
    are tokens, which such a page doesn't have, the server answers to no name that anybody can register: to addresses,
    to names without a dot such as localhost, and to those of allowed origins. Starlette's `TrustedHostMiddleware`, a
    list of names, can't express that (test_dns_rebinding).
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        super().__init__(app)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)
        self._names = frozenset(urlsplit(origin).hostname or "" for origin in self._origins)
        self._closed = bool(settings.tokens)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        name = _host_name(host)
        if not (self._closed or name in self._names or _is_local(name)):
            return RequestError(
                "host: found a name that isn't known here; expected an address or localhost, as pages can make any "
                "name lead here. Allow it: topa serve --allow-origin https://NAME. Or ask for tokens: --token-file",
                status=HTTPStatus.FORBIDDEN,
                code="host_not_allowed",
            )
        own = bool(host) and origin.partition("://")[2] == host
        if origin and not own and origin not in self._origins and "*" not in self._origins:
            return RequestError(
                "origin: pages of other sites may not use this server. Allow one: topa serve --allow-origin "
                "https://NAME",
                status=HTTPStatus.FORBIDDEN,
                code="origin_not_allowed",
            )
        return None


class TokenCheck(AccessCheck):
    """Asks for a token at the API and the metrics, where there are any.

    Not a dependency of the routes: FastAPI reads a request's body before it solves these.
    """

    def __init__(self, app: ASGIApp, tokens: Iterable[str]) -> None:
        super().__init__(app)
        self._digests = tuple(map(_digest, tokens))

    def _refusal(self, scope: Scope) -> RequestError | None:
        path: str = scope["path"]
        if not self._digests or not (path.startswith(API) or path == "/metrics"):
            return None
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        digest = _digest(token.strip())
        # All are compared, so that the time says nothing.
        if kind.lower() == "bearer" and sum(hmac.compare_digest(digest, known) for known in self._digests):
            return None
        return RequestError(
            "authorization: found no token of this server; expected the header `Authorization: Bearer TOKEN`.",
            status=HTTPStatus.UNAUTHORIZED,
            code="invalid_api_key",
        )


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _is_local(name: str) -> bool:
    """Return whether nobody can register a host's name: it is empty, an address, has no dot, or is below localhost."""
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
