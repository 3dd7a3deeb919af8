"""The container file speaks of what is there: files that it copies, an extra to install, options of the verb."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from topa.cli import app

ROOT = Path(__file__).parents[2]
STEPS = (ROOT / "Dockerfile").read_text()


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", STEPS, re.MULTILINE) for word in line.split()]
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert copied
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)


def test_it_installs_what_serving_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extra,) = re.findall(r'"\.\[(\w+)\]"', STEPS)
    assert any(need.startswith("fastapi") for need in project["optional-dependencies"][extra])
    read = {project["readme"], *re.findall(r"COPY (?!--from)(.*) ", STEPS)[0].split()}
    assert {"README.md", "LICENSE", "pyproject.toml"} <= read  # what the build of the package reads


def test_it_starts_the_verb_with_options_that_it_has() -> None:
    (start,) = re.findall(r"^ENTRYPOINT (.*)$", STEPS, re.MULTILINE)
    program, verb, *options = json.loads(start)
    assert (program, verb) == ("topa", "serve")
    told = CliRunner().invoke(app, [verb, "--help"]).output
    assert all(option in told for option in options if option.startswith("--"))
    assert re.search(r"^USER (?!root)", STEPS, re.MULTILINE)
    assert "/readyz" in STEPS
