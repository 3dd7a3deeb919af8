"""The application: routes, what every request passes before them, and how errors are told."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from ..core.artifacts import own_version
from ..core.errors import TopaError
from . import schemas
from .cancelling import Attended
from .documents import describe, gives, plain
from .failures import failure_of, invalid
from .guards import Admission, Bodies, Named, Origins, Tokens
from .metrics import MEDIA_TYPE, Measured, Metrics
from .page import page
from .routes import add_routes, as_json

if TYPE_CHECKING:
    from .service import Service
    from .settings import Settings

_OPEN = ("/", "/healthz", "/readyz")


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The HTTP side of a service: an ASGI app, whose `/openapi.json` says all that it can. Close the service after
    it."""
    metrics = Metrics(service)
    app = FastAPI(
        title="topa",
        version=own_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=_middleware(settings, metrics),
    )
    _tell_errors(app)
    add_routes(app, service)
    _add_probes(app, service, metrics)
    describe(app, tokens=bool(settings.tokens), open_paths=_OPEN)
    return app


def _middleware(settings: Settings, metrics: Metrics) -> list[Middleware]:
    """From the outermost to the innermost."""
    shared = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["X-Request-Id", "Retry-After"],
    )
    return [
        Middleware(Measured, metrics=metrics),
        Middleware(Named),
        *([shared] if settings.origins else []),
        Middleware(Origins, settings=settings),
        Middleware(Tokens, tokens=settings.tokens),
        Middleware(Admission, most=settings.limits.waiting),
        Middleware(Attended),
        Middleware(Bodies, limits=settings.limits),
    ]


def _tell_errors(app: FastAPI) -> None:
    async def told(request: Request, error: Exception) -> Response:
        failure = failure_of(error)
        if failure is None:
            raise error  # to the outermost middleware, which logs it
        if failure.status == HTTPStatus.METHOD_NOT_ALLOWED:
            return failure.response({"Allow": ", ".join(_methods(app, request.scope))})
        return failure.response()

    async def wrong(request: Request, error: Exception) -> Response:
        """Of a path or a query, which FastAPI checks."""
        if not isinstance(error, RequestValidationError):
            raise error
        first = error.errors()[0]
        where, *place = first["loc"]
        if where == "path":  # an id that can't be one
            return (failure_of(HTTPException(HTTPStatus.NOT_FOUND)) or invalid(None, "")).response()
        return invalid(".".join(map(str, place)), first["msg"], first["type"]).response()

    for kind in (TopaError, ValidationError, HTTPException):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(RequestValidationError, wrong)


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    """All that a path has, as a router only tells those of the first route."""
    fitting = [r for r in app.routes if isinstance(r, Route) and r.matches(scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in route.methods or ()})


def _add_probes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    html, policy = page()
    body = html.encode()

    @app.get(
        "/",
        tags=["server"],
        operation_id="page",
        response_class=Response,
        responses={200: {"description": "A page for people.", "content": plain("text/html")}},
    )
    async def show_page() -> Response:
        """The page for people."""
        return Response(body, media_type="text/html", headers={"Content-Security-Policy": policy})

    @app.get("/healthz", tags=["server"], operation_id="health", responses={200: {"model": schemas.Health}})
    async def health() -> Response:
        """Whether the process answers."""
        return as_json(schemas.Health(status="ok"))

    @app.get(
        "/readyz",
        tags=["server"],
        operation_id="ready",
        responses={200: {"model": schemas.Health}, 503: {"model": schemas.Health, "description": "Not yet."}},
    )
    async def ready() -> Response:
        """Whether requests are answered."""
        if service.ready:
            return as_json(schemas.Health(status="ok"))
        return as_json(schemas.Health(status="busy"), HTTPStatus.SERVICE_UNAVAILABLE)

    @app.get(
        "/metrics",
        tags=["server"],
        operation_id="metrics",
        response_class=Response,
        responses=gives(None, content=plain("text/plain"), about="For Prometheus."),
    )
    async def measure() -> Response:
        """What the server counts, for Prometheus."""
        return Response(metrics.text(), media_type=MEDIA_TYPE)
