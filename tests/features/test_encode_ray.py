"""Shards of `topa encode` mapped by Ray Data over local workers, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from features.clips import steady, write_video
from topa.features.store import FeatureStore

pytest.importorskip("ray")


def encode(*words: str | Path | int, here: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "topa.cli", "encode", *map(str, words), "--encoder", "microworld/clip"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)


@pytest.mark.slow
def test_shards_on_workers_make_the_same_store(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for number in range(3):
        write_video(tmp_path / "clips" / f"{number}.mp4", steady(20 + number), options={"preset": "veryfast"})
    (tmp_path / "clips" / "bad.mp4").write_text("no video")
    words = ("clips", "--frames", 2, "--workers", 1)  # the workers have working folders of their own
    whole = encode(*words, "--out", "whole", here=tmp_path)
    assert whole.returncode == 0, whole.stderr
    done = encode(*words, "--out", "parts", "--ray", 2, "--json", here=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["failed"]) == ["clips/bad.mp4"]
    store, expected = FeatureStore.open(tmp_path / "parts"), FeatureStore.open(tmp_path / "whole")
    assert list(store) == list(expected) == ["clips/0.mp4", "clips/1.mp4", "clips/2.mp4"]
    assert all(torch.equal(store[name].values, expected[name].values) for name in store)
    assert all(torch.equal(store[name].times, expected[name].times) for name in store)
    refused = encode("clips", "--frames", 3, "--workers", 1, "--out", "parts", "--ray", 2, here=tmp_path)
    assert refused.returncode == 1
    assert "frames is 3 and was 2" in refused.stderr
