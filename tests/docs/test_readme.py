"""What the README tells people to type works, as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


def test_the_first_two_commands_are_targets_of_the_makefile() -> None:
    make = [c for c in commands() if c.startswith("make ")]
    assert make[:2] == ["make demo", "make test"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {c.split()[1] for c in make} <= set(targets)
    assert all(c.split()[0] in ("make", "topa") for c in commands())


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize(
    ("part", "script", "kept"),
    [
        ("speed", "run.py", "results.json"),
        ("training", "training.py", "training.json"),
        ("writing", "writing.py", "writing.json"),
        ("scoring", "scoring.py", "scoring.json"),
        ("captioning", "captioning.py", "captioning.json"),
        ("serving", "serving.py", "serving.json"),
    ],
)
def test_the_tables_are_those_of_the_kept_figures(part: str, script: str, kept: str) -> None:
    folder = ROOT / "benchmarks"
    done = subprocess.run(
        [sys.executable, str(folder / script), "--table", str(folder / kept)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = README.split(f"<!-- {part} -->")[1].split(f"<!-- /{part} -->")[0]
    assert shown.strip() == done.stdout.strip()


def test_the_kept_figures_are_of_all_parts() -> None:
    names = {row["name"] for row in json.loads((ROOT / "benchmarks" / "results.json").read_text())["rows"]}
    assert {"options", "generation", "projection"} < names
    sizes = {row["tideos"] for row in json.loads((ROOT / "benchmarks" / "writing.json").read_text())}
    assert {1_000, 10_000, 100_000} <= sizes


def serve(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """A server comes up, answers, and ends well when it is told to."""
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = next(line.split()[1] for line in server.stdout if line.startswith("page:"))
            with urlopen(f"{address}/v1/videos") as reply:
                assert json.load(reply)["data"], "the library's videos are listed"
        finally:
            server.terminate()
    assert server.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_commands_run(tmp_path: Path) -> None:
    environment = {**os.environ, "TOPA_CACHE": str(tmp_path / "cache")}
    topa = [sys.executable, "-m", "topa.cli"]

    def run(command: list[str]) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout.strip(), command
        return done.stdout

    run([*topa, "demo", "--quick", "--out", "topa-demo"])
    for command in commands():
        if command.startswith("topa serve"):
            serve([*topa, *shlex.split(command)[1:], "--port", "0"], tmp_path, environment)
        elif command.startswith("topa "):
            run([*topa, *shlex.split(command)[1:]])
    for code in blocks("python"):
        run([sys.executable, "-c", code])
