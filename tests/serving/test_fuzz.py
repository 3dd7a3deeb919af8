"""The OpenAPI document is true, whatever is sent: schemathesis makes requests of it, right ones and wrong ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.serving.settings import ServerLimits, ServerSettings

from .running import running

ROOT = Path(__file__).parents[2]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
)
"""All but those that take a right form for a right request: no form says that two options differ behind their blanks,
or that bytes are a video."""


@pytest.mark.parametrize(
    ("phases", "examples", "tokens"),
    [
        pytest.param("examples,fuzzing", 4, (), marks=pytest.mark.slow),
        ("examples,fuzzing", 2, ("sesame",)),
        pytest.param("examples,coverage,fuzzing,stateful", 15, (), marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
    ids=["open", "tokens", "long"],
)
def test_no_request_breaks_the_server(
    engine: Topa,
    contents: Contents,
    micro_videos: list[Any],
    tmp_path: Path,
    phases: str,
    examples: int,
    tokens: tuple[str, ...],
) -> None:
    settings = ServerSettings(tokens=tokens, limits=ServerLimits(tokens=16))
    headers = {"Authorization": "Bearer sesame"} if tokens else {}
    with running(engine, settings, contents) as server:
        with httpx2.Client(base_url=server.url, headers=headers, timeout=60) as client:
            with micro_videos[0].path.open("rb") as file:
                uploaded = client.post("/v1/videos", files={"file": file}).json()["id"]
            listed = [video["id"] for video in client.get("/v1/videos").json()["data"]]
        done = subprocess.run(
            [
                *[sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"],
                *["--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples)],
                *["--seed", "1", "--workers", "1", "--no-color", "--continue-on-failure"],
                *[word for key, value in headers.items() for word in ("-H", f"{key}: {value}")],
            ],
            cwd=tmp_path,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                "SCHEMATHESIS_HOOKS": "tests.serving.fuzzing",
                "FUZZED_IDS": ",".join([uploaded, *listed]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        counted = httpx2.get(f"{server.url}/metrics", headers=headers).text
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # It got to the bottom of each operation, with tokens too.
    for route in ("/v1/ask", "/v1/caption", "/v1/explain", "/v1/search", "/v1/chat/completions", "/v1/videos/{id}"):
        assert re.search(rf'topa_requests_total{{[^}}]*route="{re.escape(route)}",status="200"}}', counted), route
