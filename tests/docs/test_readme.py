"""What the README tells people to type works as it stands there, in the shell of somebody who has just come."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
TESTED = {"ARGS": "tests/core/test_registry.py"}
README = (ROOT / "README.md").read_text()
MEASUREMENTS = (ROOT / "docs" / "measurements.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


def test_the_first_two_commands_are_targets_of_the_makefile() -> None:
    make = [c for c in commands() if c.startswith("make ")]
    assert make == commands()[:3] == ["make demo", "make test", "make serve"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {c.split()[1] for c in make} | set(re.findall(r"`make ([a-z-]+)`", README)) <= set(targets)
    assert all(c.split()[0] in ("make", ".venv/bin/topa") for c in commands())


def test_it_is_a_page_that_is_read_to_its_end() -> None:
    assert len(README.split()) < 1300


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
    folder = ROOT / "perf"
    done = subprocess.run(
        [sys.executable, str(folder / script), "--table", str(folder / kept)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = MEASUREMENTS.split(f"<!-- {part} -->")[1].split(f"<!-- /{part} -->")[0]
    assert shown.strip() == done.stdout.strip()


def test_the_kept_figures_are_of_all_parts() -> None:
    names = {row["name"] for row in json.loads((ROOT / "perf" / "results.json").read_text())["rows"]}
    assert {"options", "generation", "projection"} < names
    sizes = {row["tideos"] for row in json.loads((ROOT / "perf" / "writing.json").read_text())}
    assert {1_000, 10_000, 100_000} <= sizes


@pytest.fixture
def newcomer(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the checkout with its environment installed, and the variables of a shell that knows nothing of it.

    The environment is two scripts that start this Python on the copy's source; the demo is the quick one, and of the
    tests one file is run.
    """
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    home.mkdir()
    start = f"#!/bin/sh\nPYTHONPATH={checkout / 'src'} exec {sys.executable}"
    quick = '#!/bin/sh\n[ "$1" = demo ] && set -- "$@" --quick\n'
    (binaries / "python").write_text(f'{start} "$@"\n')
    (binaries / "topa").write_text(quick + f'{start.split(chr(10))[1]} -m topa.cli "$@"\n')
    for name in ("python", "topa"):
        (binaries / name).chmod(0o755)
    for stamp in (".python", ".base", ".serve", ".dev"):
        (checkout / ".venv" / stamp).touch()
    return checkout, {
        "PATH": os.defpath,
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PORT": "0",
        "BROWSER": "true",
    } | TESTED


def typed(block: str, checkout: Path, environment: dict[str, str]) -> str:
    """What a block prints in a shell of its own. One that serves is visited and then stopped."""
    block = re.sub(r"(bin/topa serve .*)", r"\1 --port 0", block)
    with subprocess.Popen(
        ["bash", "-e", "-c", block], cwd=checkout, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as shell:  # fmt: skip
        if "serve" not in block:
            out, err = shell.communicate()
            assert shell.returncode == 0, (block, out, err)
            return out
        shown = []
        try:
            for line in shell.stdout:
                shown.append(line)
                if line.startswith("page:"):
                    with urlopen(f"{line.split()[1]}/v1/videos") as reply:
                        assert json.load(reply)["data"], "the library's videos are listed"
                    break
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
        assert any(line.startswith("page:") for line in shown), (block, shown, shell.stderr.read())
        return "".join(shown)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_commands_run(newcomer: tuple[Path, dict[str, str]]) -> None:
    checkout, environment = newcomer
    for block in blocks("bash"):
        out = typed(block, checkout, environment)
        assert out.strip(), block
        if "make demo" in block:
            assert out.rstrip().endswith("--quick --serve")
    for code in blocks("python"):
        done = subprocess.run(
            [".venv/bin/python", "-c", code], cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
