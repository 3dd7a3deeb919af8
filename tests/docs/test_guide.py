"""What the guide shows can be done: its Tideo is one, its recipe is one, its commands have these options."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from topa.tideos.tideo import Tideo
from topa.training.config import read_recipe

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("topa ")]
    return lines + re.findall(r"`(topa [a-z]+ .*?)`", GUIDE)


def test_the_tideo_is_one() -> None:
    (example,) = blocks("json")
    tideo = Tideo.model_validate_json(example)
    assert [question.right for question in tideo.questions] == ["it is fried"]


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (example,) = [block for block in blocks("toml") if "llm =" in block]
    (tmp_path / "own.toml").write_text(example)
    assert read_recipe(str(tmp_path / "own.toml")).llm == "Qwen/Qwen3-0.6B-Base"


def test_the_defaults_are_some(topa, tmp_path, monkeypatch) -> None:
    (example,) = [block for block in blocks("toml") if "[defaults]" in block]
    (tmp_path / "topa.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    done = topa("config", "memory", "build", "--json")
    assert (done.code, done.err) == (0, "")
    assert '"100000"' in done.out


def test_the_python_runs(micro_model, micro_video, tmp_path) -> None:
    """As it stands, on a model and a video that are there."""
    (code,) = [block for block in blocks("python") if "Topa.from_pretrained" in block]
    code = code.replace('"kitchen-model"', f'"{micro_model}", resolve=resolve').replace("own.mp4", str(micro_video))
    code = "from topa.core.embedded import resolve\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "adapter.safetensors").is_file()


def test_the_library_is_opened(micro_model, micro_video, tmp_path) -> None:
    """As it stands, on a library of one video, a folder with another and a model."""
    (code,) = [block for block in blocks("python") if "Library.open" in block]
    code = code.replace('"kitchen-model"', f'"{micro_model}"')
    for folder, name in (("footage", "a.mp4"), ("more-footage", "b.mp4")):
        (tmp_path / folder).mkdir()
        shutil.copy(micro_video, tmp_path / folder / name)
    index = [sys.executable, "-m", "topa.cli", "index", "footage", "--out", "footage-library"]
    for command in ([*index, "--encoder", "microworld/clip"], [sys.executable, "-c", code]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["footage/a.mp4", "more-footage/b.mp4"]
    # Both files are one video: a search shows it once.
    assert lines[2].split()[0] == "footage/a.mp4"
    assert lines[-2].split()[0] in ("red", "blue")
    assert lines[-1].count("(") == 5


@pytest.mark.parametrize("command", commands())
def test_commands_have_these_options(command: str) -> None:
    words = shlex.split(command)
    verb = words[1:3] if words[1] in ("import", "memory") else words[1:2]
    environment = os.environ | {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "topa.cli", *verb, "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " ".join(verb) in done.stdout
    for option in [word for word in words if word.startswith("--")]:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", done.stdout), f"topa {words[1]} has no {option}"
