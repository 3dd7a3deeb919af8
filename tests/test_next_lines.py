"""What a verb says to type next runs as it is printed, from the same folder."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from topa.core.command import program


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name needs quotes, in a shell that doesn't find topa."""
    folder = tmp_path / "it's mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def line(text: str, label: str = "next") -> str:
    """The command behind a label."""
    (found,) = re.findall(rf"^{label}: +(.*)$", text, re.MULTILINE)
    return found


def test_in_a_fresh_shell(here: Path) -> None:
    """Without a path to anything, and with nothing of this process's environment."""
    for part in ("0/2", "1/2"):
        words = ["generate", "--writer", "microworld", "--limit", "20", "--seed", "5", "--shard", part]
        done = subprocess.run(
            [sys.executable, "-m", "topa.cli", *words, "--out", str(here / "my set")],
            capture_output=True,
            text=True,
            check=True,
        )
    told = line(done.stdout)
    assert told.startswith(str(Path(sys.executable).with_name("topa")))
    assert told.endswith("--seed 5  # when all 2 shards are done")
    merged = subprocess.run(
        ["/bin/sh", "-c", told], env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )
    assert merged.returncode == 0, merged.stderr
    assert (here / "my set" / "tideos.jsonl").is_file()
    assert "align --recipe RECIPE --tideos " in line(merged.stdout)


@pytest.fixture
def then(topa: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run a printed command in this process: `then(line)`; what stands for the user's own is filled in."""

    def run(told: str, **own: object):
        start = shlex.split(program())
        words = shlex.split(told, comments=True)
        assert words[: len(start)] == start
        done = topa(*(str(own.get(word, word)) for word in words[len(start) :]))
        assert done.code == 0, (told, done.err)
        return done

    return run


@pytest.mark.slow
def test_from_tideos_to_an_answer(topa, then, here: Path, micro_video: Path) -> None:
    made = topa("generate", "--writer", "microworld", "--limit", 30, "--out", "my tideos")
    assert line(made.out) == "topa align --recipe microworld --tideos 'my tideos/tideos.jsonl' --out model"
    encoded = topa("encode", "my tideos", "--encoder", "microworld/clip", "--out", "the store")
    built = then(line(encoded.out, "or"))
    assert "rows:" in then(line(built.out)).out
    aligned = then(line(encoded.out))
    assert "fusion=mean" in line(encoded.out)
    assert then(line(aligned.out), VIDEO=micro_video, QUESTION="what colour is the toy ?").out.strip()


def test_from_videos_to_moments(topa, then, here: Path, micro_video: Path) -> None:
    (here / "a folder").mkdir()
    shutil.copy(micro_video, here / "a folder" / "a clip.mp4")
    settings = ("--encoder", "microworld/clip", "--rate", "0.5", "--cap", "7", "--scenes", "0.3", "--workers", "1")
    planned = topa("index", "a folder", "--out", "my library", "--dry-run", *settings, "--wait")
    assert all(word in shlex.split(line(planned.out)) for word in (*settings, "--wait"))
    made = then(line(planned.out))
    assert "a clip.mp4" in then(line(made.out)).out
