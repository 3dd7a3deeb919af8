"""What docs/serving.md shows works as it stands there, on the micro model; what it tells of limits is so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from topa.inference.engine import Topa
from topa.library.contents import Contents
from topa.serving.settings import ServerLimits, ServerSettings

from .running import Running, running

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def lines(start: str) -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.startswith(start)]


@pytest.fixture(scope="module")
def micro(engine: Topa, contents: Contents) -> Iterator[Running]:
    with running(engine, ServerSettings(name="micro"), contents) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, micro_videos: list[Any]) -> Path:
    shutil.copy(micro_videos[0].path, tmp_path / "own.mp4")
    return tmp_path


def test_curl(micro: Running, folder: Path) -> None:
    """Each line by itself, in one shell: what it prints is an answer and no error."""
    asked = [line for block in blocks("bash") for line in block.splitlines() if "curl" in line]
    assert len(asked) > 15
    end = "--- end of a line ---"
    # As it is shown, curl ends well whatever the server says.
    script = 'set -e\ncurl() { command curl --fail-with-body --max-time 60 "$@"; }\n'
    script += "".join(f"{line}\necho\necho '{end}'\n" for line in asked)
    done = subprocess.run(
        ["bash", "-c", script.replace(ADDRESS, micro.url)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    said = done.stdout.split(end)
    assert done.returncode == 0, f"{asked[len(said) - 1]}\n{said[-1]}\n{done.stderr}"
    for line, text in zip(asked, said, strict=False):
        assert '"error"' not in text, line
        assert text.strip() or " -o " in line or line.startswith("video="), line
    assert "data: [DONE]" in done.stdout
    assert (folder / "picture.jpg").read_bytes().startswith(b"\xff\xd8")
    assert len((folder / "first.bin").read_bytes()) == 1000


@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
def test_python(micro: Running, folder: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code.replace(ADDRESS, micro.url)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3


def test_commands_have_these_options() -> None:
    environment = os.environ | {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "topa.cli", "serve", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    named = {word for line in lines("topa ") for word in shlex.split(line, comments=True) if word.startswith("--")}
    named |= set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert len(named) > 8
    for option in named:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", told), f"topa serve has no {option}"


def test_limits_are_as_told() -> None:
    limits, settings = ServerLimits(), ServerSettings()
    table = PAGE.split("## Limits")[1].split("##")[0]
    rows = {row.split("|")[1].strip(): row.split("|")[2] for row in table.splitlines() if row.startswith("| ")}
    mega = 1 << 20

    def numbers(start: str) -> list[int]:
        (row,) = [told for what, told in rows.items() if what.startswith(start)]
        return [int(number) for number in re.findall(r"\d+", row)]

    assert numbers("a video") == [limits.upload // mega]
    assert numbers("its length") == [limits.seconds]
    assert numbers("a picture") == [9, 5, 4096, 2304]
    assert 4096 * 2304 <= limits.pixels <= 9.5e6
    assert numbers("decoding") == [limits.decode_seconds, limits.decode_memory // mega]
    assert numbers("uploads") == [limits.kept_videos, limits.kept_bytes // mega]
    assert numbers("another body") == [limits.body // mega]
    assert numbers("requests at work")[0] == limits.waiting
    assert numbers("an answer") == [limits.tokens, limits.request_seconds]
    assert numbers("requests in one pass") == [settings.batch]


def test_endpoints_are_those_of_the_document(micro: Running) -> None:
    table = PAGE.split("## The API")[1].split("**Options.**")[0]
    told = set(re.findall(r"`(?:(?:GET|POST|DELETE) )?(/[a-z0-9/{}]+)", table))
    there = set(httpx2.get(f"{micro.url}/openapi.json").json()["paths"])
    assert told == there - {"/"}


def test_codes_are_those_of_the_source() -> None:
    table = PAGE.split("**Errors**")[1].split("An error on the way")[0]
    told = {code for row in table.splitlines() if row.startswith("| ") for code in re.findall(r"`([a-z_]+)`", row)}
    source = "".join(path.read_text() for path in (ROOT / "src" / "topa" / "serving").rglob("*.py"))
    assert {code for code in told if f'"{code}"' not in source} == set()
    assert set(re.findall(r'(?:code=|_error\(|\w+Error, )"([a-z_]+)"', source)) <= told


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
