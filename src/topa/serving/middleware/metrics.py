"""What a server counts, for Prometheus: requests, times, batches, caches, and what the process takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .base import CLIENT_CLOSED, HttpMiddleware

if TYPE_CHECKING:
    from ..service import Service

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_COUNTERS = {
    "feature_hits": "Videos whose features were there.",
    "feature_misses": "Videos that had to be decoded.",
    "decode_failures": "Videos that couldn't be decoded.",
}
_GAUGES = {"waiting": "Work that waits for the model."}


class ServerMetrics:
    """The metrics of one app: another one in the same process has its own."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_ServiceCollector(service))
        self.requests = Counter(
            "topa_requests", "Requests by what they were for.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "topa_request_seconds", "Until the last byte.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.first_token = Histogram(
            "topa_first_token_seconds", "Of streams, until the first.", buckets=_SECONDS, registry=self.registry
        )
        self.active = Gauge("topa_requests_in_flight", "Requests that aren't answered yet.", registry=self.registry)
        self.batch = Histogram(
            "topa_batch_requests",
            "Requests that a pass of the model was for.",
            ("pass",),
            buckets=_BATCHES,
            registry=self.registry,
        )
        self.tokens = Counter("topa_tokens", "Tokens of answers, generated.", registry=self.registry)
        service.observe = self.observe

    def observe(self, kind: str, batch_size: int) -> None:
        """Count a pass of the model; from any thread."""
        self.batch.labels(kind).observe(batch_size)
        if kind == "step":
            self.tokens.inc(batch_size)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _ServiceCollector(Collector):
    """What the service counts by itself."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield the service's metrics as they are now."""
        numbers = self._service.numbers()
        for name, help in _COUNTERS.items():
            yield CounterMetricFamily(f"topa_{name}", help, value=numbers[name])
        for name, help in _GAUGES.items():
            yield GaugeMetricFamily(f"topa_{name}", help, value=numbers[name])


class RequestMetrics(HttpMiddleware):
    """Counts requests by method, route and status, and how long they take. Paths that lead nowhere are one route, so
    that nobody can make more of them."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        super().__init__(app)
        self.metrics = metrics

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, streams, start = CLIENT_CLOSED, False, time.perf_counter()

        async def send_counted(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = (b"x-accel-buffering", b"no") in message["headers"]
            elif streams:
                streams = False
                self.metrics.first_token.observe(time.perf_counter() - start)
            await send(message)

        self.metrics.active.inc()
        try:
            await self.app(scope, receive, send_counted)
        finally:
            self.metrics.active.dec()
            route: str = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE") else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)
