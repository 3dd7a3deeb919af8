"""A saved model travels: to a folder, to a hub and back, without anything of the language model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from topa import Topa
from topa.core.embedded import resolve
from topa.core.errors import InputError

from .hub import Published, commit_of, hub

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
from topa.core.embedded import resolve
print(Topa.from_pretrained(sys.argv[1], resolve=resolve).push_to_hub("me/micro-topa", private=True))
"""
PULL = """
import sys
from topa import Topa
from topa.core.embedded import resolve
engine = Topa.from_pretrained("me/micro-topa", resolve=resolve)
print(engine.ask(sys.argv[1], sys.argv[2], sys.argv[3:]).text)
"""


def python(
    code: str, *words: object, endpoint: str, home: Path, token: str = "hf_good", offline: str = "0"
) -> subprocess.CompletedProcess:
    """In a process of its own: huggingface_hub reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_OFFLINE": offline,
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
    with pytest.raises(InputError, match=r"nowhere: found no such folder"):
        Topa.from_pretrained(tmp_path / "nowhere")


REVISIONS = """
import sys
import topa
from topa.core.errors import TopaError
from topa.features.encoder import Encoder
from topa.core.embedded import resolve

def told(act):
    try:
        print(act())
    except TopaError as error:
        print(f"{type(error).__name__}: {error}")

told(lambda: topa.load("me/micro@v1").config.temperature)
told(lambda: topa.load("me/micro", revision="v2").config.temperature)
told(lambda: topa.load("me/micro@pinned/llm").config.llm)
told(lambda: topa.load("me/micro").config.temperature)
told(lambda: topa.load("me/micro@v1", revision="v2"))
told(lambda: topa.load("me/micro@v9"))
told(lambda: Encoder.from_pretrained(resolve("me/clip@v1")).identity)
"""


def published(model: Path) -> Published:
    """The micro model in four revisions, of which one names a revision of the language model, and what it needs."""

    def files(folder: str | Path, **changes: object) -> dict[str, bytes]:
        read = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
        return read | {"config.json": json.dumps(json.loads(read["config.json"]) | changes).encode()}

    micro = {f"v{number}": files(model, temperature=number / 100) for number in (1, 2)}
    return {
        "me/micro": {**micro, "main": files(model, temperature=0.03), "pinned/llm": files(model, llm="me/llm@v1")},
        "me/llm": {"v1": files(resolve("microworld/llm"))},
        "me/clip": {"v1": files(resolve("microworld/clip"))},
    }


def test_a_revision_is_that_revision_with_a_hub_and_without_one(micro_model: Path, tmp_path: Path) -> None:
    with hub(published(micro_model)) as (endpoint, _):
        online = python(REVISIONS, endpoint=endpoint, home=tmp_path)
    lines = online.stdout.splitlines()
    assert lines[:4] == ["0.01", "0.02", "me/llm@v1", "0.03"], online.stderr
    assert lines[4].startswith("UsageError: me/micro@v1: found another revision beside it, 'v2'")
    assert lines[5].startswith("ArtifactError: me/micro@v9: the repository has no revision 'v9'")
    assert lines[6].startswith(f"{commit_of('v1')}-")
    # What was fetched once is there without a network; of the rest one learns where it was looked for.
    offline = python(REVISIONS, endpoint="http://127.0.0.1:9", home=tmp_path, offline="1").stdout.splitlines()
    assert offline[:5] == lines[:5]
    assert offline[6:] == lines[6:]
    assert f"found neither a folder nor a copy in {tmp_path / 'hub'}, and HF_HUB_OFFLINE forbids" in offline[5]
    assert offline[5].endswith("hf download me/micro --revision v9")
