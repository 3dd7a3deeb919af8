"""The server itself: the page for people, probes, and metrics."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response

from ..openapi import content, errors
from ..page import page as document
from ..schemas import HealthStatus
from .dependencies import ServiceDependency

public = APIRouter(tags=["server"])
router = APIRouter(tags=["server"])


@public.get("/", response_class=Response, responses=content("text/html", "A page for people."))
async def page() -> Response:
    """Send the page for people."""
    html, policy = document()
    return Response(html, media_type="text/html", headers={"Content-Security-Policy": policy})


@public.get("/healthz")
async def health() -> HealthStatus:
    """Tell whether the process answers."""
    return HealthStatus(status="ok")


@public.get("/readyz", responses={503: {"model": HealthStatus, "description": "Not yet."}})
async def ready(response: Response, service: ServiceDependency) -> HealthStatus:
    """Tell whether requests are answered."""
    if not service.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return HealthStatus(status="ok" if service.ready else "busy")


@router.get("/metrics", response_class=Response, responses={**errors(), **content("text/plain", "For Prometheus.")})
async def metrics(request: Request) -> Response:
    """Tell what the server counts, for Prometheus."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
