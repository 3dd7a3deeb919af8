"""A saved model travels: to a folder, to a hub and back, without anything of the language model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from topa import Topa
from topa.core.errors import ArtifactError
from topa.microworld.paths import resolve

from .hub import hub

QUESTION, CHOICES = "what colour is the toy at the end ?", ["red", "blue", "green"]
FILES = {
    "README.md",
    "adapter.safetensors",
    "captions.safetensors",
    "config.json",
    "manifest.json",
    "memory.safetensors",
}
PUSH = """
import sys
from topa import Topa
from topa.microworld.paths import resolve
print(Topa.from_pretrained(sys.argv[1], resolve=resolve).push_to_hub("me/micro-topa", private=True))
"""
PULL = """
import sys
from topa import Topa
from topa.microworld.paths import resolve
engine = Topa.from_pretrained("me/micro-topa", resolve=resolve)
print(engine.ask(sys.argv[1], sys.argv[2], sys.argv[3:]).text)
"""


def python(code: str, *words: object, endpoint: str, home: Path, token: str = "hf_good") -> subprocess.CompletedProcess:
    """In a process of its own: huggingface_hub reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False)


def test_saved_again_it_is_the_same(micro_model: Path, micro_video: Path, tmp_path: Path) -> None:
    engine = Topa.from_pretrained(micro_model, resolve=resolve)
    engine.save_pretrained(tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").glob("[!.]*")} == FILES
    again = Topa.from_pretrained(str(tmp_path / "copy"), resolve=resolve)
    assert again.ask(micro_video, QUESTION, CHOICES) == engine.ask(micro_video, QUESTION, CHOICES)
    size = sum(path.stat().st_size for path in (tmp_path / "copy").iterdir())
    assert size < 600_000  # the language model alone has 2.6 MB
    card = (tmp_path / "copy" / "README.md").read_text()
    for words in ("base_model: microworld/llm", "microworld/clip", "trainable 16,560", "keep their own licences"):
        assert words in card
    # The language model may be given by another name, as long as it is the same one.
    moved = Topa.from_pretrained(tmp_path / "copy", llm=resolve("microworld/llm"), resolve=resolve)
    scores = [each.ask(micro_video, QUESTION, CHOICES).scores for each in (moved, again)]
    assert scores[0] == pytest.approx(scores[1])


def test_to_a_hub_and_back(micro_model: Path, micro_video: Path, tmp_path: Path) -> None:
    with hub() as (endpoint, files):
        refused = python(PUSH, micro_model, endpoint=endpoint, home=tmp_path / "a", token="hf_bad")
        assert "OutputError: me/micro-topa: can't be uploaded" in refused.stderr
        assert "hf auth login" in refused.stderr
        assert "hf_bad" not in refused.stderr + refused.stdout
        assert files == {}
        pushed = python(PUSH, micro_model, endpoint=endpoint, home=tmp_path / "a")
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stdout.strip().endswith("me/micro-topa")
        assert set(files) >= FILES
        pulled = python(PULL, micro_video, QUESTION, *CHOICES, endpoint=endpoint, home=tmp_path / "b")
        assert pulled.returncode == 0, pulled.stderr
    expected = Topa.from_pretrained(micro_model, resolve=resolve).ask(micro_video, QUESTION, CHOICES)
    assert pulled.stdout.strip() == expected.text


def test_neither_a_folder_nor_a_repository(tmp_path: Path) -> None:
    with hub() as (endpoint, _):
        done = python(PULL, "none.mp4", "why", endpoint=endpoint, home=tmp_path)
    assert "ArtifactError: me/micro-topa: found neither a folder nor a repository on the hub" in done.stderr
    with pytest.raises(ArtifactError, match=r"found no config.json"):
        Topa.from_pretrained(tmp_path / "nowhere")
