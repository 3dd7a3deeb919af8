"""The application: its routers, what every request passes before them, and how errors are answered."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from ..core.artifacts import own_version
from ..core.errors import TopaError
from .api import chat, library, models, questions, server, videos
from .error_responses import as_request_error, error_response
from .middleware.access import OriginCheck, TokenCheck
from .middleware.disconnect import DisconnectCancellation
from .middleware.load import Admission, BodyLimit
from .middleware.metrics import RequestMetrics, ServerMetrics
from .middleware.request_id import RequestId
from .openapi import DocumentedApi

if TYPE_CHECKING:
    from .service import Service
    from .settings import ServerSettings

_DESCRIPTION = (
    "An aligned model that answers questions about videos: chat completions as OpenAI's clients send them, with a "
    "`video_url` part for the video, and what chat can't express."
)
_ROUTERS = (chat.router, questions.router, videos.router, library.router, models.router, server.router)
"""Requests are matched in this order: the most frequent ones come first."""


def create_app(service: Service, settings: ServerSettings) -> FastAPI:
    """Return the HTTP side of a service: an ASGI app, whose `/openapi.json` says all that it can. Close the service
    after it."""
    metrics = ServerMetrics(service)
    app = DocumentedApi(
        title="topa",
        description=_DESCRIPTION,
        version=own_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: to_camel(route.name),
        middleware=_middleware(settings, metrics),
        exception_handlers=dict.fromkeys((TopaError, HTTPException, RequestValidationError), _answer_error),
    )
    app.state.service, app.state.metrics = service, metrics
    # For the document alone: the middleware checks tokens.
    bearer = [Security(HTTPBearer(scheme_name="bearer", auto_error=False))] if settings.tokens else []
    for router in _ROUTERS:
        app.include_router(router, dependencies=bearer)
    app.include_router(server.public)
    return app


def _middleware(settings: ServerSettings, metrics: ServerMetrics) -> list[Middleware]:
    """Return it from the outermost to the innermost."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["X-Request-Id", "Retry-After"],
    )
    return [
        Middleware(RequestMetrics, metrics=metrics),
        Middleware(RequestId),
        *([cors] if settings.origins else []),
        Middleware(OriginCheck, settings=settings),
        Middleware(TokenCheck, tokens=settings.tokens),
        Middleware(Admission, limit=settings.limits.waiting),
        Middleware(DisconnectCancellation),
        Middleware(BodyLimit, limits=settings.limits),
    ]


async def _answer_error(request: Request, error: Exception) -> Response:
    refused = as_request_error(error)
    if refused is None:
        raise error  # to the outermost middleware, which logs it
    if refused.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return error_response(refused, {"Allow": ", ".join(_methods(request))})
    return error_response(refused)


def _methods(request: Request) -> list[str]:
    """Return all methods of a path, as a router only tells those of the first route."""
    routers = (request.app, server.public, *_ROUTERS)
    routes: list[BaseRoute] = [route for router in routers for route in router.routes]
    matching = [r for r in routes if isinstance(r, Route) and r.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()})
