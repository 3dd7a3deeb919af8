"""What Prometheus is told, read as Prometheus reads it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from topa.inference.engine import Topa
from topa.serving.settings import ServerLimits, ServerSettings

from .running import Running, running


def numbers(server: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    reply = httpx2.get(f"{server.url}/metrics", timeout=60)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def count(found: Any, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture
def server(engine: Topa) -> Any:
    with running(engine, ServerSettings(limits=ServerLimits(waiting=8))) as found:
        yield found


def test_what_is_counted(server: Running, micro_videos: list[Any]) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        for _ in range(2):
            with micro_videos[0].path.open("rb") as file:
                video = client.post("/v1/videos", files={"file": file}).json()["id"]
        client.post("/v1/videos", files={"file": b"none"})
        client.post("/v1/ask", json={"video": video, "question": "what ?", "choices": ["red", "blue"]})
        content = [{"type": "video_url", "video_url": {"url": video}}]
        chat = {"model": "topa", "messages": [{"role": "user", "content": content}], "max_tokens": 5}
        said = client.post("/v1/chat/completions", json=chat).json()
        client.post("/v1/chat/completions", json=chat | {"stream": True})
        client.get(f"/v1/videos/{video}")
        for name in ("a", "b", "c"):
            client.get(f"/{name}")
    found = numbers(server)
    requests = {
        (dict(labels)["method"], dict(labels)["route"], dict(labels)["status"]): value
        for (name, labels), value in found.items()
        if name == "topa_requests_total"
    }
    assert requests == {
        ("POST", "/v1/videos", "201"): 2,
        ("POST", "/v1/videos", "400"): 1,
        ("POST", "/v1/ask", "200"): 1,
        ("POST", "/v1/chat/completions", "200"): 2,
        ("GET", "/v1/videos/{id}", "200"): 1,
        ("GET", "other", "404"): 3,
    }
    assert count(found, "topa_request_seconds_count", route="/v1/chat/completions") == 2
    assert count(found, "topa_first_token_seconds_count") == 1
    assert count(found, "topa_requests_in_flight") == 1  # the one that asks
    assert count(found, "topa_tokens_total") >= 2 * said["usage"]["completion_tokens"]
    assert count(found, "topa_feature_misses_total") >= 1
    assert count(found, "topa_feature_hits_total") >= 3
    assert count(found, "topa_decode_failures_total") == 1
    assert count(found, "topa_waiting") == 0
    assert count(found, "topa_batch_requests_sum", **{"pass": "score"}) == 1
    assert count(found, "process_resident_memory_bytes") > 1e6
    assert count(found, "process_cpu_seconds_total") > 0


def test_servers_count_for_themselves(server: Running, engine: Topa) -> None:
    httpx2.get(f"{server.url}/v1/models")
    with running(engine) as other:
        assert count(numbers(other), "topa_requests_total", method="GET", route="/v1/models", status="200") == 0
    assert count(numbers(server), "topa_requests_total", method="GET", route="/v1/models", status="200") == 1


def test_refusals_are_counted(engine: Topa) -> None:
    with running(engine, ServerSettings(limits=ServerLimits(waiting=0))) as full:
        httpx2.post(f"{full.url}/v1/ask", json={})
        assert count(numbers(full), "topa_requests_total", method="POST", route="other", status="429") == 1
