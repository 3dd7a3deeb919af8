"""The shard function mapped by Ray Data over local workers, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .servers import good, is_probe, send, serving

pytest.importorskip("ray")


def generate(*words: str | Path, here: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "topa.cli", "generate", "--yes", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)


@pytest.mark.slow
def test_shards_on_workers_make_the_same_set_and_a_failed_one_is_told(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(
        "".join(json.dumps({"id": f"s{n}", "kind": "own", "text": f"thing {n}"}) + "\n" for n in range(10))
    )
    with serving(good) as (url, log):
        words = ("--seeds", seeds, "--model", "m", "--base-url", url)
        whole = generate(*words, "--out", tmp_path / "whole")
        assert whole.returncode == 0, whole.stderr
        number = sum(not is_probe(request) for request in log.requests)
        words = ("--seeds", "seeds.jsonl", *words[2:])  # workers have working folders of their own
        process = generate(*words, "--out", "parts", "--ray", 3, "--json", here=tmp_path)
        assert process.returncode == 0, process.stderr
        output = json.loads(process.stdout)
        assert (output["accepted"], output["left"], output["report"]["kept"]) == (10, 0, 10)
        assert sum(not is_probe(request) for request in log.requests) == 2 * number
        assert (tmp_path / "parts" / "tideos.jsonl").read_text() == (tmp_path / "whole" / "tideos.jsonl").read_text()
    # A key that is refused, and one shard to be written again: its error is told, the others stay.
    (tmp_path / "parts" / "shard-1-of-3" / "ledger.sqlite").unlink()
    with serving(lambda handler, _: send(handler, 401, b"no")) as (url, _):
        failed = generate("--seeds", seeds, "--model", "m", "--base-url", url, "--out", tmp_path / "parts", "--ray", 3)
    assert failed.returncode == 1
    assert failed.stderr.startswith("topa: shard 1 of 3: 127.0.0.1")
    assert "HTTP 401" in failed.stderr
    assert (tmp_path / "parts" / "shard-0-of-3" / "manifest.json").exists()
