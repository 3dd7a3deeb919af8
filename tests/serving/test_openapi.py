"""The OpenAPI document says all that there is, and nothing that there isn't."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from topa.inference.engine import Topa
from topa.serving import schemas
from topa.serving.settings import ServerSettings

from .running import Running, running

ERROR = {"$ref": "#/components/schemas/ErrorResponse"}


@pytest.fixture(scope="module")
def document(server: Running) -> dict[str, Any]:
    return httpx2.get(f"{server.url}/openapi.json").json()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, own) for path, methods in document["paths"].items() for method, own in methods.items()]


def test_all_that_there_is(document: dict[str, Any]) -> None:
    assert {(method.upper(), path) for path, method, _ in operations(document)} == {
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{id}"),
        ("GET", "/v1/videos"),
        ("POST", "/v1/videos"),
        ("GET", "/v1/videos/{id}"),
        ("DELETE", "/v1/videos/{id}"),
        ("GET", "/v1/videos/{id}/content"),
        ("GET", "/v1/videos/{id}/picture"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/ask"),
        ("POST", "/v1/caption"),
        ("POST", "/v1/explain"),
        ("POST", "/v1/search"),
    }


def test_each_tells_its_errors_in_one_form(document: dict[str, Any]) -> None:
    for path, method, own in operations(document):
        assert own["summary"], path
        assert own["description"], path
        assert "422" not in own["responses"], path
        if not path.startswith("/v1/"):
            continue
        told = {int(code) for code in own["responses"]}
        assert {400, 401, 403, 500} <= told, path
        assert "{id}" not in path or 404 in told
        if method == "post":
            assert {408, 413, 415, 429} <= told, path
        for code, response in own["responses"].items():
            assert response["description"]
            assert "X-Request-Id" in response["headers"]
            if int(code) >= 400:
                assert response["content"]["application/json"]["schema"] == ERROR, (path, code)
            if int(code) == 429:
                assert "Retry-After" in response["headers"]


def test_each_body_has_its_form(document: dict[str, Any]) -> None:
    for path, method, own in operations(document):
        if method == "post":
            assert own["requestBody"]["required"], path
        good = own["responses"].get("200") or own["responses"]["201"]
        for kind, content in good["content"].items():
            schema = content.get("schema") or content["itemSchema"]
            assert schema.get("$ref", "").startswith("#/components/schemas/") or schema.get("type"), (path, kind)


def test_no_reference_leads_nowhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named == set(document["components"]["schemas"])


@pytest.mark.parametrize("body", [schemas.AskRequest, schemas.ChatRequest, schemas.SearchRequest], ids=range(3))
def test_examples_are_right(document: dict[str, Any], body: type[BaseModel]) -> None:
    told = document["components"]["schemas"][body.__name__]
    example = {
        name: (own.get("examples") or [own.get("default")])[0]
        for name, own in told["properties"].items()
        if name in told.get("required", ()) or own.get("examples")
    }
    body.model_validate_json(json.dumps(example))


def test_tokens_are_told(engine: Topa, document: dict[str, Any]) -> None:
    assert "securitySchemes" not in document["components"]
    with running(engine, ServerSettings(tokens=("sesame",))) as closed:
        told = httpx2.get(f"{closed.url}/openapi.json").json()
    assert told["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    needs = {path for path, _, own in operations(told) if own.get("security")}
    assert needs == {path for path in told["paths"] if path.startswith("/v1/")} | {"/metrics"}
