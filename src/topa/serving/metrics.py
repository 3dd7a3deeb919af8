"""What a server counts, for Prometheus: requests, times, batches, caches, and what the process takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .cancelling import GONE

if TYPE_CHECKING:
    from .service import Service

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_MANY = (1, 2, 4, 8, 16, 32, 64, 128)
_COUNTED = {
    "feature_hits": "Videos whose features were there.",
    "feature_misses": "Videos that had to be decoded.",
    "decode_failures": "Videos that couldn't be decoded.",
}
_STATES = {"waiting": "Work that waits for the model."}


class Metrics:
    """Of one app: another one in the same process has its own."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Numbers(service))
        self.requests = Counter(
            "topa_requests", "Requests by what they were for.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "topa_request_seconds", "Until the last byte.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.first = Histogram(
            "topa_first_token_seconds", "Of streams, until the first.", buckets=_SECONDS, registry=self.registry
        )
        self.at_work = Gauge("topa_requests_in_flight", "Requests that aren't answered yet.", registry=self.registry)
        self.batch = Histogram(
            "topa_batch_requests",
            "Requests that a pass of the model was for.",
            ("pass",),
            buckets=_MANY,
            registry=self.registry,
        )
        self.tokens = Counter("topa_tokens", "Tokens of answers, generated.", registry=self.registry)
        service.observe = self.passed

    def passed(self, did: str, many: int) -> None:
        """A pass of the model: what it did, for how many requests. May be told in any thread."""
        self.batch.labels(did).observe(many)
        if did == "step":
            self.tokens.inc(many)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class _Numbers(Collector):
    """What the service counts by itself."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client has it."""
        numbers = self._service.numbers()
        for name, words in _COUNTED.items():
            yield CounterMetricFamily(f"topa_{name}", words, value=numbers[name])
        for name, words in _STATES.items():
            yield GaugeMetricFamily(f"topa_{name}", words, value=numbers[name])


class Measured:
    """Counts requests by method, route and status, and how long they take. Paths that lead nowhere are one route, so
    that nobody can make more of them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = GONE
        began = time.perf_counter()
        streams = False

        async def sending(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = (b"x-accel-buffering", b"no") in message["headers"]
            elif streams:
                streams = False
                self.metrics.first.observe(time.perf_counter() - began)
            await send(message)

        self.metrics.at_work.inc()
        try:
            await self.app(scope, receive, sending)
        finally:
            self.metrics.at_work.dec()
            route: str = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE") else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
