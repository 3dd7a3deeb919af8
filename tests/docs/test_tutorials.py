"""What the tutorials show can be done: their commands run as they stand there, page by page, on the demo.

Blocks of `bash` and `python` are run; blocks of `sh` need a GPU, a network or large files, and are only read
(`test_commands.py`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from topa.microworld.writer import make_videos
from topa.tideos.tideo import Tideo
from topa.training.config import read_recipe

from . import shells

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = sorted(path.name for path in TUTORIALS.glob("*.md"))
ELSEWHERE = {"lmms-eval.md"}
"""Run by tests/integrations, in an environment of its own."""


def blocks(page: str, *languages: str) -> list[str]:
    return [content for _, content in shells.blocks((TUTORIALS / page).read_text(), *languages)]


def test_the_tideo_is_one() -> None:
    (example,) = blocks("align.md", "json")
    tideo = Tideo.model_validate_json(example)
    assert [question.right for question in tideo.questions] == ["it is fried"]


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (example,) = blocks("align.md", "toml")
    (tmp_path / "own.toml").write_text(example)
    assert read_recipe(str(tmp_path / "own.toml")).llm == "Qwen/Qwen3-0.6B-Base"


def test_the_defaults_are_some(topa, tmp_path, monkeypatch) -> None:
    (example,) = blocks("configure.md", "toml")
    (tmp_path / "topa.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    done = topa("config", "memory", "build", "--json")
    assert (done.code, done.err) == (0, "")
    assert '"100000"' in done.out


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_something_to_run(page: str) -> None:
    assert blocks(page, "sh" if page in ELSEWHERE else "bash")


@pytest.mark.parametrize("page", PAGES)
def test_the_list_of_tutorials_has_all(page: str) -> None:
    assert f"tutorials/{page}" in (ROOT / "docs" / "index.md").read_text()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick demo."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "topa.cli", "demo", "--quick", "--out", str(folder / "topa-demo")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "topa-demo"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_a_page_runs(page: str, demo: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(demo, checkout / "topa-demo")
    if page == "camera.md":  # needs 30 videos; the quick demo has a dozen, the whole one has enough
        for video in make_videos(tmp_path / "more", 30, 7, show=False):
            shutil.copy(video.path, checkout / "topa-demo" / "videos")
    environment = shells.environment_in(checkout, ROOT / "src")
    for language, block in shells.blocks((TUTORIALS / page).read_text(), "bash", "python"):
        if language == "python":
            out = shells.run_python(block, checkout, environment)
        else:
            out = shells.typed(f"source .venv/bin/activate\n{block}", checkout, environment)
        assert out.strip(), block
