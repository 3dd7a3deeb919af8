"""transformers' own server, in a process of its own: it speaks OpenAI's protocol, and can't be held to JSON."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from topa.tideos.endpoint import Endpoint
from topa.tideos.writer_prompt import ReplyError, WriterPrompt, read_reply, reply_schema
from topa.tideos.writers import BadContent, Mode, Permanent, count_body, read_body

from .tiny import SEED, llama

MESSAGES = [{"role": "user", "content": WriterPrompt().render(SEED)}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The base URL of a server with a tiny model, and the model's name."""
    folder = tmp_path_factory.mktemp("serve")
    model, log_file = str(llama(folder / "model")), folder / "said.txt"
    command = [Path(sys.executable).with_name("transformers"), "serve", model, "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log_file.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield f"{_address(process, log_file)}/v1", model
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen[bytes], log_file: Path) -> str:
    """Where the server listens, once it is healthy."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if match := re.search(r"running on (http://\S+)", log_file.read_text()):
            with urllib.request.urlopen(f"{match[1]}/health", timeout=30) as reply:
                assert b"ok" in reply.read()
            return match[1]
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"transformers serve didn't start:\n{log_file.read_text()}")


def test_the_probe_finds_what_is_really_obeyed_and_replies_are_refused(server: tuple[str, str]) -> None:
    """The server takes a response_format and ignores it; a random model then writes anything but JSON."""
    url, model = server

    async def run() -> None:
        async with Endpoint(url, model, schema=reply_schema(), max_tokens=300, temperature=1.0, timeout=60) as endpoint:
            result = await endpoint.probe()
            assert result.mode == Mode(output="text")
            assert result.tokens.tokens_in > 0
            assert result.tokens.tokens_out > 0
            modes = (result.mode, Mode(output="json_schema"))
            bodies = await asyncio.gather(*(endpoint.ask(MESSAGES, mode) for mode in modes))
        for body in bodies:
            assert count_body(body).tokens_in > 300
            assert 0 < count_body(body).tokens_out <= 300
            with pytest.raises((ReplyError, BadContent)):
                read_reply(read_body(body))

    asyncio.run(run())


def test_a_limit_and_a_wrong_name(server: tuple[str, str]) -> None:
    url, model = server

    async def ask(name: str) -> str:
        async with Endpoint(url, name, schema=reply_schema(), max_tokens=5, timeout=60) as endpoint:
            return await endpoint.ask(MESSAGES, Mode(output="text"))

    body = asyncio.run(ask(model))
    assert count_body(body).tokens_out == 5
    with pytest.raises(BadContent, match="cut off"):
        read_body(body)
    with pytest.raises(Permanent, match="pinned to"):
        asyncio.run(ask("another"))
