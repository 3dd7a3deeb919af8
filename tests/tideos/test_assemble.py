"""From Tideos as they were written to a set: what lies in the folder, what is mixed in, and how memory stays flat."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from topa.core.artifacts import read_manifest
from topa.tideos.assemble import assemble
from topa.tideos.duplicates import DuplicateIndex
from topa.tideos.jsonl import read_jsonl
from topa.tideos.tideo import TextFrame, Tideo

from .replies import WORDS


def tideo(name: str) -> Tideo:
    return Tideo(id=name, frames=(TextFrame(caption=f"{name} is seen"),), description=f"{name} does what it does")


def test_the_folder_of_a_set(tmp_path: Path) -> None:
    report = assemble(map(tideo, ("a", "b", "a")), tmp_path, seed=3, config={"x": 1}, show=False)
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        "card.html",
        "card.json",
        "card.md",
        "manifest.json",
        "quality.json",
        "tideos.jsonl",
    ]
    manifest = read_manifest(tmp_path, "tideos", verify=True)
    assert manifest.counts == {"tideos": 2, "left_out": 1}
    assert manifest.config == {"x": 1, "seed": 3, "near": 0.8}
    assert json.loads((tmp_path / "quality.json").read_text()) == report.model_dump()
    assert [t.id for t in read_jsonl(tmp_path / "tideos.jsonl")] == ["a", "b"]
    assemble([tideo("c")], tmp_path, seed=3, complete=False, show=False)
    assert not (tmp_path / "manifest.json").exists()


def test_near_duplicates_by_their_overlap() -> None:
    draws = random.Random(0)
    caught = dict.fromkeys((0.6, 0.9), 0)
    for overlap in caught:
        for _ in range(50):
            told = draws.choices([a + b for a in WORDS for b in WORDS], k=300)
            shared = int(2 * 298 * overlap / (1 + overlap)) + 2
            other = told[:shared] + draws.choices([a + b for a in WORDS for b in WORDS], k=300 - shared)
            with DuplicateIndex(0.8, 128) as seen:
                assert seen.add("told", told) is None
                caught[overlap] += seen.add("other", other) == "near duplicate"
    assert caught[0.6] == 0
    assert caught[0.9] >= 47


GROWTH = """
import resource, sys
from pathlib import Path
from topa.microworld.writer import write_tideos
from topa.tideos.assemble import assemble
from topa.tideos.quality import Checks
out = Path(sys.argv[2])
out.mkdir()
assemble(write_tideos(int(sys.argv[1]), 0), out, seed=0, checks=Checks(near=1.0), show=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """A Tideo is some 2 KB as text and more as objects: 8,000 more of them would take 16 MB at least."""
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", GROWTH, str(number), str(tmp_path / str(number))])) / 1024
        for number in (500, 8500)
    ]
    assert peaks[1] - peaks[0] < 10, peaks


def test_the_micro_world_is_written_on_the_command_line(topa, tmp_path):
    words = ["generate", "--limit", 60, "--seed", 4, "--near", 1]
    done = topa(*words, "--out", tmp_path / "whole")
    assert done.code == 0, done.err
    assert f"topa align --recipe microworld --tideos {tmp_path / 'whole' / 'tideos.jsonl'} --out model" in done.out
    made = list(read_jsonl(tmp_path / "whole" / "tideos.jsonl"))
    kinds = [t.source["writer"] for t in made]
    assert kinds == ["microworld"] * 60
    for index in range(2):
        assert topa(*words, "--out", tmp_path / "parts", "--shard", f"{index}/2").code == 0
    done = topa("merge", tmp_path / "parts", "--seed", 4, "--json")
    assert json.loads(done.out)["kept"] == 60
    merged = list(read_jsonl(tmp_path / "parts" / "tideos.jsonl"))
    assert [t.id for t in merged] == [t.id for t in made]
    assert topa(*words, "--out", tmp_path / "again").code == 0
    again = (tmp_path / "again" / "tideos.jsonl").read_bytes()
    assert again == (tmp_path / "whole" / "tideos.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--writer", "micro"], "did you mean 'microworld'?"),
        ([], "Give --limit"),
        (["--limit", "5", "--seeds", "seeds.jsonl"], "no use for --seeds"),
        (["--limit", "5", "--dry-run"], "no use for --dry-run"),
        (["--writer", "openai", "--model", "m"], "needs --base-url"),
        (["--base-url", "http://localhost:1/v1"], "needs --model"),
        (["--base-url", "http://localhost:1/v1", "--model", "m"], "needs seeds"),
        (["--writer", "local", "--model", "m", "--base-url", "http://x/v1"], "has no endpoint"),
    ],
)
def test_options_that_cannot_be_meant(topa, tmp_path, words, told):
    done = topa("generate", "--out", tmp_path / "out", *words)
    assert done.code == 2
    assert told in done.err
    assert not list(islice(tmp_path.rglob("*.sqlite"), 1))
