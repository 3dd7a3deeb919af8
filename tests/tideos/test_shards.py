"""A set in parts is the set in one piece, and parts that don't make a whole are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from topa.core.artifacts import read_manifest
from topa.core.errors import ArtifactError, ArtifactMismatch, InputError, UsageError
from topa.tideos.collect import generate_set
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits
from topa.tideos.seeds import Seed
from topa.tideos.shards import ShardSpec, merge
from topa.tideos.writer_prompt import WriterPrompt, reply_schema

from .servers import good, serving

COUNT = 11
FILES = ("tideos.jsonl", "quality.json", "manifest.json")


@pytest.fixture(scope="module")
def endpoint() -> Any:
    with serving(good) as (url, _):
        yield url


def seeds() -> list[Seed]:
    # Two seeds ask the same, so that their Tideos are duplicates, in different shards.
    return [Seed(id=f"s{n}", kind="own", text=f"<{n % 9}>") for n in range(COUNT)]


def write(url: str, out: Path, shard: ShardSpec | None = None, *, tokens: int = 100) -> None:
    writer = Endpoint(url, "m", schema=reply_schema(), max_tokens=tokens)
    folder = out if shard is None else shard.folder(out)
    generate_set(
        seeds(),
        folder,
        writer,
        prompt=WriterPrompt("{seed}"),
        limits=GenerationLimits(3),
        shard=shard,
        seed=5,
        show=False,
    )


@pytest.fixture(scope="module")
def parts(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts")
    for index in (2, 0, 1):
        write(endpoint, out, ShardSpec(index, 3))
    return out


@pytest.fixture
def copied(parts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parts, tmp_path / "set"))


def test_merged_shards_are_the_set_of_a_run_without_them(copied: Path, endpoint: str, tmp_path: Path) -> None:
    write(endpoint, tmp_path / "whole")
    report = merge(copied, seed=5, show=False)
    assert (report.read, report.kept) == (COUNT, 9)
    assert report.dropped == {"exact duplicate": {"count": 2, "examples": ["s9", "s10"]}}
    for name in ("tideos.jsonl", "quality.json"):
        assert (copied / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    cards = [json.loads((folder / "card.json").read_text()) for folder in (copied, tmp_path / "whole")]
    assert cards[0]["cost"] == cards[1]["cost"] == {"tokens_in": 1100, "tokens_out": 550, "cost": 0}
    assert read_manifest(copied, "tideos", verify=True).config["shards"] == 3
    before = {name: (copied / name).read_bytes() for name in FILES}
    merge(copied, seed=5, show=False)
    assert {name: (copied / name).read_bytes() for name in FILES} == before


def test_a_missing_shard_is_named(copied: Path) -> None:
    shutil.rmtree(copied / "shard-1-of-3")
    with pytest.raises(InputError, match=r"shards 1/3 are missing. Run topa generate with --shard 1/3"):
        merge(copied, show=False)
    assert not (copied / "tideos.jsonl").exists()


def test_a_shard_that_is_not_finished_is_refused(copied: Path) -> None:
    (copied / "shard-2-of-3" / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"shard-2-of-3: found a folder without manifest.json .unfinished"):
        merge(copied, show=False)


def test_a_shard_that_was_cut_is_refused(copied: Path) -> None:
    path = copied / "shard-0-of-3" / "tideos.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"shard-0-of-3/tideos.jsonl: was changed after it was written"):
        merge(copied, show=False)


def test_shards_of_two_divisions_are_refused(copied: Path) -> None:
    shutil.copytree(copied / "shard-0-of-3", copied / "shard-0-of-4")
    with pytest.raises(InputError, match="found shards of 3, 4"):
        merge(copied, show=False)


def test_shards_that_were_made_otherwise_are_refused(copied: Path, endpoint: str) -> None:
    shutil.rmtree(copied / "shard-1-of-3")
    write(endpoint, copied, ShardSpec(1, 3), tokens=200)
    with pytest.raises(ArtifactMismatch, match="shard 1/3: max_tokens is 200 and was 100 in 0/3"):
        merge(copied, show=False)


def test_another_shard_on_the_same_ledger_is_refused(copied: Path, endpoint: str) -> None:
    (copied / "shard-1-of-3").rename(copied / "shard-1-of-2")
    with pytest.raises(ArtifactMismatch, match="shard was '1/3' and is '1/2'"):
        write(endpoint, copied, ShardSpec(1, 2))


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no shards"):
        merge(tmp_path / "gone", show=False)


@pytest.mark.parametrize("text", ["3", "3/3", "-1/3", "a/3", "1/", "/2", "1/0", "²/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="expected i/n"):
        ShardSpec.parse(text)


def test_each_seed_is_in_one_shard() -> None:
    shards = [ShardSpec.parse(f"{index}/4") for index in range(4)]
    assert all(sum(shard.has(number) for shard in shards) == 1 for number in range(100))
    assert {sum(shard.has(number) for number in range(100)) for shard in shards} == {25}
