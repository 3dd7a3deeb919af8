"""`topa encode`: whatever cuts it off, the same command goes on and leaves the same bytes; nothing bad stops it."""

from __future__ import annotations

import fcntl
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.clips import steady, write_video
from features.naive import encode_tideos
from features.towers import WORDS, save_clip
from topa.core.arrays import map_arrays, write_arrays
from topa.core.artifacts import RECORD
from topa.core.errors import AllFailed, ArtifactError, ArtifactMismatch, InputError, OutputError, UsageError
from topa.core.record import RecordedFile, record_of
from topa.features import encode as encoding
from topa.features.encode_video import Plan, encode_video
from topa.features.encoder import Encoder
from topa.features.shard import read_shard, write_shard
from topa.features.store import FeatureStore
from topa.memory.build import build_memory
from topa.tideos.jsonl import write_jsonl
from topa.tideos.shards import ShardSpec
from topa.tideos.tideo import TextFrame, Tideo

FAST = {"preset": "veryfast", "g": "30"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("encoders") / "tiny-clip")


@pytest.fixture(scope="session")
def encoder(folder: Path) -> Encoder:
    return Encoder.from_pretrained(folder)


def some_tideos(count: int, seed: int = 0) -> list[Tideo]:
    """Tideos of 1 to 5 frames; a third of the captions come again and again."""
    rng = random.Random(seed)
    common = [" ".join(rng.choices(WORDS.split(), k=3)) for _ in range(20)]

    def caption() -> str:
        return rng.choice(common) if rng.random() < 1 / 3 else " ".join(rng.choices(WORDS.split(), k=rng.randint(1, 9)))

    def frame() -> TextFrame:
        return TextFrame(caption=caption(), objects=tuple(caption() for _ in range(rng.randint(0, 2))))

    return [
        Tideo(id=f"t{n}", frames=tuple(frame() for _ in range(rng.randint(1, 5))), description="d")
        for n in range(count)
    ]


@pytest.fixture(scope="session")
def tideos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tideos") / "own.jsonl"
    write_jsonl(some_tideos(300), path)
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos, of which two can't be read, in a folder and one below."""
    root = tmp_path_factory.mktemp("videos") / "clips"
    (root / "more").mkdir(parents=True)
    for number in range(4):
        write_video(root / ("more" if number % 2 else "") / f"{number}.mp4", steady(20 + number), options=FAST)
    (root / "broken.mp4").write_text("no video at all")
    (root / "more" / "empty.mkv").touch()
    (root / "notes.md").write_text("not asked for")
    return root


def plan(inputs: Path | Sequence[Path], out: Path, folder: Path, **options: Any) -> Plan:
    given = (inputs,) if isinstance(inputs, Path) else tuple(inputs)
    return Plan(given, out, str(folder), **{"chunk": 16, **options})


def encode(inputs: Path | Sequence[Path], out: Path, folder: Path, **options: Any) -> FeatureStore:
    return FeatureStore.open(encoding.encode(plan(inputs, out, folder, **options), show=False).path)


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the lock and the record of the folder's files: what a run leaves."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.lock", RECORD))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def whole(tideos: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "store"
    encode(tideos, out, folder)
    return out


SCRIPT = """
import json, resource, sys
from pathlib import Path
from topa.features import encode as encoding
from topa.core.record import RecordedFile, record_of
from topa.core.errors import AllFailed, TopaError
from topa.features.encoder import Encoder

inputs, out, encoder, options, limit = json.loads(sys.argv[1])
load = Encoder.from_pretrained
def loaded(name):
    made = load(name)
    print("loaded", flush=True)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return made
Encoder.from_pretrained = loaded
try:
    encoding.encode(encoding.Plan(tuple(map(Path, inputs)), Path(out), encoder, **options), show=False)
except TopaError as error:
    sys.exit(f"topa: {error}")
"""


def start(plan: Plan, limit: int = 0) -> subprocess.Popen[str]:
    """Encode a plan in a process of its own, which says when its encoder is loaded. limit: bytes of its largest file
    from then on."""
    options = {name: getattr(plan, name) for name in ("frames", "workers", "chunk")}
    given = json.dumps([list(map(str, plan.inputs)), str(plan.out), plan.encoder, options, limit])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, given], text=True, **pipes)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def kill_again_and_again(plan: Plan, times: Sequence[float]) -> int:
    """Start a plan and SIGKILL it so many seconds after its encoder is loaded, again and again, then let it finish in
    this process. Gives how many were killed in time."""
    killed = 0
    for seconds in times:
        process = start(plan)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        else:
            assert process.returncode == 0
            break
    encoding.encode(plan, show=False)
    return killed


def test_tideos_killed_at_any_moment_end_in_the_same_bytes(tideos, folder, whole, tmp_path) -> None:
    rng = random.Random(0)
    killed = kill_again_and_again(plan(tideos, tmp_path / "store", folder), [rng.uniform(0, 0.25) for _ in range(3)])
    assert killed > 0
    assert content(tmp_path / "store") == content(whole)


def test_videos_killed_at_any_moment_end_in_the_same_bytes(videos, folder, tmp_path) -> None:
    options = {"frames": 3, "workers": 2, "chunk": 1}
    encode(videos, tmp_path / "whole", folder, **options)
    rng = random.Random(1)
    times = [rng.uniform(0, 0.6) for _ in range(2)]
    assert kill_again_and_again(plan(videos, tmp_path / "store", folder, **options), times) > 0
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_full_disk_loses_nothing_and_is_told(tideos, folder, whole, tmp_path) -> None:
    # 64 KB are enough for files of the store, and not for what the captions are kept in.
    process = start(plan(tideos, tmp_path / "store", folder), limit=1 << 16)
    told = process.communicate()[1]
    assert process.returncode == 1
    assert "Traceback" not in told
    last = told.strip().splitlines()[-1]
    assert last.startswith("topa: ")
    assert "captions.sqlite: can't be written" in last
    assert last.endswith("Free some space, then run the same command again.")
    assert not (tmp_path / "store" / "manifest.json").exists()
    encode(tideos, tmp_path / "store", folder)
    assert content(tmp_path / "store") == content(whole)


def test_a_full_disk_while_a_file_of_the_store_is_written(tideos, folder, whole, tmp_path, monkeypatch) -> None:
    """The third file finds no room; what was written before stays, and the same bytes come of going on."""
    written: list[Path] = []

    def full(path: Path, *rest: Any) -> None:
        if len(written) == 2:
            raise OutputError(f"{path}: can't be written (No space left on device).")
        written.append(path)
        write_shard(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("topa.features.run.write_shard", full)
        with pytest.raises(OutputError, match=r"No space left.* free some space, then run the same command again"):
            encode(tideos, tmp_path / "store", folder)
    result = encoding.encode(plan(tideos, tmp_path / "store", folder), show=False)
    assert result.done == 32
    assert content(tmp_path / "store") == content(whole)


def test_frames_are_fused_as_ever_and_equal_captions_encoded_once(
    tideos, folder, encoder, tmp_path, monkeypatch
) -> None:
    computed: list[str] = []
    encode_distinct = Encoder.encode_distinct

    def counted(self: Encoder, texts: list[str], batch_size: int = 256) -> Any:
        computed.extend(texts)
        return encode_distinct(self, texts, batch_size)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode_distinct", counted)
        store = encode(tideos, tmp_path / "store", folder)
    everything = some_tideos(300)
    captions = {text for one in everything for frame in one.frames for text in (frame.caption, *frame.objects)}
    assert sorted(computed) == sorted(captions)
    expected = encode_tideos(everything, encoder, tmp_path / "expected")
    assert list(store) == list(expected)
    for name in store:
        torch.testing.assert_close(store[name].values, expected[name].values, atol=1e-3, rtol=0)
    for name in ("fusion", "cut_captions", "space"):
        assert store.manifest.config[name] == expected.manifest.config[name]
    alone = encode(tideos, tmp_path / "alone", folder, fusion="caption")
    first = encoder.encode_texts([frame.caption for frame in everything[0].frames])
    torch.testing.assert_close(alone["t0"].values, first, atol=1e-3, rtol=0)


def test_a_finished_store_is_left_as_it_is(tideos, folder, whole, monkeypatch) -> None:
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *_: pytest.fail("loaded for nothing"))
    before = content(whole)
    result = encoding.encode(plan(tideos, whole, folder), show=False)
    assert (result.done, result.items, result.whole) == (300, 300, True)
    assert content(whole) == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(bytes(data))


def poison(path: Path) -> None:
    found = map_arrays(path)
    values = found.arrays["values"].copy()
    values[1] = np.nan
    write_arrays(path, {**found.arrays, "values": values}, found.about)


@pytest.mark.parametrize("damage", [cut, flip, poison, Path.unlink])
@pytest.mark.parametrize("name", ["features-00003.safetensors", "index.safetensors"])
def test_what_is_damaged_is_made_again(tideos, folder, whole, tmp_path, damage, name) -> None:
    if damage is poison and name.startswith("index"):
        damage = cut
    store = tmp_path / "store"
    shutil.copytree(whole, store)
    damage(store / name)
    if damage is poison:
        with pytest.raises(InputError, match=r"features of 't49'.*hold NaN"):
            FeatureStore.open(store).batch([f"t{n}" for n in range(40, 60)], 4)
        with pytest.raises(InputError, match=r"features of 't49'.*hold NaN"):
            build_memory(store, tmp_path / "memory", 10_000)
    again = encode(tideos, store, folder)
    for file in store.glob("features-*"):
        read_shard(file, verify=True)
    assert again.manifest.counts == FeatureStore.open(whole).manifest.counts
    for one in ("t0", "t49", "t299"):
        torch.testing.assert_close(again[one].values, FeatureStore.open(whole)[one].values, atol=1e-3, rtol=0)


def test_a_store_that_is_mended_is_unfinished_until_it_is_whole(tideos, folder, whole, tmp_path, monkeypatch) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole, store)
    cut(store / "features-00003.safetensors")
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encode(tideos, store, folder)
    with pytest.raises(ArtifactError, match="unfinished"):
        FeatureStore.open(store)


def test_another_run_in_the_same_folder_is_refused_with_the_difference(tideos, folder, whole, tmp_path) -> None:
    other = save_clip(tmp_path / "other-clip", seed=1)
    with pytest.raises(ArtifactMismatch, match=r"encoder is 'other-clip-\w+' and was 'tiny-clip-\w+'"):
        encode(tideos, whole, other)
    with pytest.raises(ArtifactMismatch, match="fusion is 'caption' and was 'mean'"):
        encode(tideos, whole, folder, fusion="caption")
    write_jsonl(some_tideos(301), tmp_path / "more.jsonl")
    with pytest.raises(
        ArtifactMismatch, match=r"tideos_file is \w{12}\.\.\. and was \w{12}\.\.\.; items is 301 and was 300"
    ):
        encode(tmp_path / "more.jsonl", whole, folder)
    # The same Tideos at another place are the same.
    shutil.copy(tideos, tmp_path / "moved.jsonl")
    assert len(encode(tmp_path / "moved.jsonl", whole, folder)) == 300
    encode(tideos, whole, folder)


def test_what_another_command_wrote_is_not_touched(tideos, folder, encoder, tmp_path) -> None:
    encode_tideos(some_tideos(3), encoder, tmp_path / "store")
    before = content(tmp_path / "store")
    with pytest.raises(ArtifactMismatch, match="topa encode didn't write"):
        encode(tideos, tmp_path / "store", folder)
    with pytest.raises(ArtifactMismatch, match="topa encode didn't write"):
        encode(tideos, tmp_path / "store", folder, part=ShardSpec(0, 2))
    found = content(tmp_path / "store")
    assert {name: found[name] for name in before} == before


def test_two_processes_on_one_folder(tideos, folder, tmp_path) -> None:
    (tmp_path / "store").mkdir()
    with (tmp_path / "store" / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process is at work in it"):
            encode(tideos, tmp_path / "store", folder)
    assert len(encode(tideos, tmp_path / "store", folder)) == 300


def test_parts_are_one_store_when_all_are_finished(tideos, folder, whole, tmp_path) -> None:
    out = tmp_path / "store"
    for index in (2, 0):
        result = encoding.encode(plan(tideos, out, folder, part=ShardSpec(index, 3)), show=False)
        assert (result.whole, result.items, result.path) == (False, 100, out / f"shard-{index}-of-3")
    with pytest.raises(ArtifactError, match="unfinished"):
        FeatureStore.open(out)
    with pytest.raises(InputError, match=r"shards 1/3 are missing. Run topa encode with --shard 1/3"):
        encoding.merge(out)
    result = encoding.encode(plan(tideos, out, folder, part=ShardSpec(1, 3)), show=False)
    assert (result.whole, result.path) == (True, out)
    store, expected = FeatureStore.open(out), FeatureStore.open(whole)
    assert list(store) == list(expected)
    assert store.manifest.counts == expected.manifest.counts
    assert not list(out.glob("features-*"))
    names = [f"t{n}" for n in range(299, 0, -7)]
    for found, wanted in zip(store.batch(names, 4), expected.batch(names, 4), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    # Copied together by hand, and joined by name; the same bytes.
    shutil.copytree(
        out,
        tmp_path / "copied",
        ignore=lambda *_: {"index.safetensors", "manifest.json", "run.json"} if _[0] == str(out) else set(),
    )
    assert encoding.merge(tmp_path / "copied").items == 300
    assert content(tmp_path / "copied") == content(out)
    with pytest.raises(ArtifactMismatch, match="shard is None and was 'all of 3'"):
        encode(tideos, out, folder)


def test_parts_that_were_not_made_alike(tideos, folder, tmp_path) -> None:
    encode(tideos, tmp_path, folder, part=ShardSpec(0, 2))
    with pytest.raises(ArtifactMismatch, match=r"shard 1/2: fusion is 'caption' and was 'mean' in 0/2"):
        encode(tideos, tmp_path, folder, part=ShardSpec(1, 2), fusion="caption")
    with pytest.raises(UsageError, match=r"--shard 400/500: found 300 Tideos"):
        encode(tideos, tmp_path / "more", folder, part=ShardSpec(400, 500))


def test_several_files_of_tideos_are_one_store(folder, tmp_path) -> None:
    first, second = some_tideos(5), [one.model_copy(update={"id": f"u{n}"}) for n, one in enumerate(some_tideos(4))]
    write_jsonl(first, tmp_path / "a.jsonl")
    (tmp_path / "set").mkdir()
    write_jsonl(second, tmp_path / "set" / "tideos.jsonl")
    store = encode([tmp_path / "a.jsonl", tmp_path / "set"], tmp_path / "store", folder, chunk=3)
    assert list(store) == [*(one.id for one in first), *(one.id for one in second)]
    assert torch.equal(store["u3"].values, store["t3"].values)
    write_jsonl(first[:1], tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=r"b\.jsonl:1: found the id 't0', which is also in .*a\.jsonl:1"):
        encode([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "other", folder)


def test_videos_of_a_folder_and_those_that_cannot_be_read(videos, folder, encoder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(videos.parent)
    result = encoding.encode(plan(Path("clips"), tmp_path / "store", folder, frames=3, workers=2, chunk=4), show=False)
    store = FeatureStore.open(tmp_path / "store").expect(encoder.identity, "image")
    assert list(store) == ["clips/0.mp4", "clips/2.mp4", "clips/more/1.mp4", "clips/more/3.mp4"]
    assert list(result.failed) == ["clips/broken.mp4", "clips/more/empty.mkv"]
    assert json.loads((tmp_path / "store" / "failed.json").read_text()) == result.failed
    assert "not a video" in result.failed["clips/broken.mp4"]
    assert "empty file" in result.failed["clips/more/empty.mkv"]
    expected = encode_video(videos / "more" / "3.mp4", encoder, 3).features
    torch.testing.assert_close(store["clips/more/3.mp4"].values, expected.values, atol=1e-3, rtol=0)
    assert torch.equal(store["clips/more/3.mp4"].times, expected.times)


def test_a_video_that_is_cut_is_used_and_named(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = write_video(tmp_path / "whole.mkv", steady(200), options={"g": "20"}).read_bytes()
    Path("cut.mkv").write_bytes(whole[: len(whole) // 2])
    result = encoding.encode(
        plan([Path("cut.mkv"), Path("whole.mkv")], tmp_path / "store", folder, frames=3), show=False
    )
    assert result.truncated == ["cut.mkv"]
    store = FeatureStore.open(tmp_path / "store")
    assert store.manifest.config["truncated"] == ["cut.mkv"]
    assert len(store["cut.mkv"]) == 3


def test_a_video_that_was_mended_is_encoded_by_the_same_command(videos, folder, tmp_path) -> None:
    own = tmp_path / "clips"
    shutil.copytree(videos, own)
    options = {"frames": 2, "workers": 1, "chunk": 2}
    before = encode(own, tmp_path / "store", folder, **options)
    assert len(before) == 4
    shutil.copy(own / "0.mp4", own / "broken.mp4")
    result = encoding.encode(plan(own, tmp_path / "store", folder, **options), show=False)
    assert (result.items, result.done) == (5, 4)  # only the file of the store that it belongs to was made again
    assert list(result.failed) == [str(own / "more" / "empty.mkv")]
    store = FeatureStore.open(tmp_path / "store")
    assert torch.equal(store[str(own / "broken.mp4")].values, store[str(own / "0.mp4")].values)


def test_lists_and_tables_of_videos(videos, folder, encoder, tmp_path) -> None:
    (videos.parent / "list.txt").write_text("clips/2.mp4\n\nclips/gone.mp4\n")
    store = encode(videos.parent / "list.txt", tmp_path / "list", folder, frames=2)
    assert list(store) == ["clips/2.mp4"]
    assert "found nothing there" in store.manifest.config["failed"]["clips/gone.mp4"]
    table = videos.parent / "table.csv"
    table.write_text(
        "id,video,start,end,label\nfirst,clips/2.mp4,0.2,0.4,x\nlast,clips/2.mp4,0.6,,y\nlate,clips/2.mp4,99,,z\n"
    )
    store = encode(table, tmp_path / "table", folder, frames=2)
    assert list(store) == ["first", "last"]
    expected = encode_video(videos / "2.mp4", encoder, 2, start=0.2, end=0.4).features
    assert torch.equal(store["first"].times, expected.times)
    torch.testing.assert_close(store["first"].values, expected.values, atol=1e-3, rtol=0)
    assert "start of 99 s" in store.manifest.config["failed"]["late"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("own.csv", "file,id\na.mp4,1\n", r"own\.csv: found the columns file, id; expected path or video"),
        ("own.csv", "", r"own\.csv: found the columns of an empty file"),
        ("own.csv", "path,start\na.mp4,soon\n", r"own\.csv:2: start: found 'soon'; expected seconds"),
        ("own.csv", "path,id\n,1\n", r"own\.csv:2: found no path"),
        ("own.csv", "path\na.mp4\nb.mp4\na.mp4\n", r"own\.csv:4: found 'a\.mp4' twice"),
        ("own.csv", "path\n", r"own\.csv: found no video in it"),
        ("own.txt", "\n\n", r"own\.txt: found no video in it"),
        ("own.jsonl", "", r"own\.jsonl: found no Tideos"),
    ],
)
def test_lists_that_cannot_be_used(folder, tmp_path, name, text, told) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told):
        encode(tmp_path / name, tmp_path / "store", folder)
    assert not (tmp_path / "store").exists()


def test_inputs_that_cannot_be_used(tideos, videos, folder, tmp_path) -> None:
    out = tmp_path / "store"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="nothing: found no video in it"):
        encode(tmp_path / "nothing", out, folder)
    with pytest.raises(InputError, match="gone: found nothing there"):
        encode(tmp_path / "gone", out, folder)
    with pytest.raises(UsageError, match="found no input"):
        encode([], out, folder)
    with pytest.raises(UsageError, match=r"found Tideos .* and videos .* two folders"):
        encode([tideos, videos], out, folder)
    with pytest.raises(UsageError, match="--frames: is for videos"):
        encode(tideos, out, folder, frames=4)
    with pytest.raises(UsageError, match="--fusion: videos have no captions"):
        encode(videos, out, folder, fusion="mean")
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        encode(tideos, out, folder, fusion="meen")
    assert not out.exists()
    with pytest.raises(AllFailed, match=r"all 1 videos failed; the commonest reason, of all .*failed\.json"):
        encode(videos / "broken.mp4", out, folder)
    assert "not a video" in (out / "failed.json").read_text()
    # As soon as it can be read, the same command does so.
    own = tmp_path / "own.mp4"
    own.touch()
    with pytest.raises(AllFailed):
        encode(own, tmp_path / "later", folder)
    shutil.copy(videos / "0.mp4", own)
    assert len(encode(own, tmp_path / "later", folder)) == 1
    assert not (tmp_path / "later" / "failed.json").exists()


def test_the_command_line(topa, tideos, videos, folder, tmp_path) -> None:
    out = tmp_path / "store"
    done = topa("encode", tideos, "--out", out, "--encoder", folder)
    assert done.code == 0, done.err
    assert f"store:   {out}" in done.out
    assert f"topa align --recipe RECIPE --tideos {tideos} --features {out}" in done.out
    again = topa("encode", tideos, "--out", out, "--encoder", folder, "--json")
    assert json.loads(again.out)["done"] == 300
    done = topa("encode", videos, "--out", tmp_path / "images", "--encoder", folder, "--frames", 2, "--workers", 2)
    assert done.code == 0, done.err
    assert "encoded: 4 videos (8 rows" in done.out
    assert "note: 2 videos are left out" in done.err
    for index in range(2):
        parts = topa("encode", tideos, "--out", tmp_path / "parts", "--encoder", folder, "--shard", f"{index}/2")
        assert parts.code == 0, parts.err
        assert ("next:    the other shards" in parts.out) == (index == 0)
    merged = topa("encode", "--out", tmp_path / "parts", "--merge", "--json")
    assert json.loads(merged.out)["items"] == 300
    for words in (
        ("--merge", "--shard", "0/2"),
        (tideos, "--shard", "0/2", "--ray", 2),
        (tideos, "--shard", "2/2"),
    ):
        refused = topa("encode", *words, "--out", tmp_path / "new", "--encoder", folder)
        assert refused.code == 2
        assert refused.err.startswith("topa: ")
    assert not (tmp_path / "new").exists()


def test_a_long_run_says_what_it_will_take(topa, tideos, folder, tmp_path, monkeypatch) -> None:
    from collections import namedtuple

    made = partial(encoding.Plan, chunk=16)
    monkeypatch.setattr(encoding, "Plan", made)
    quick = topa("encode", tideos, "--out", tmp_path / "quick", "--encoder", folder)
    assert "take about" not in quick.err
    monkeypatch.setattr("topa.features.run._LONG", 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "free")(1000))
    long = topa("encode", tideos, "--out", tmp_path / "long", "--encoder", folder)
    assert re.search(r"encode: 300 Tideos take about \d+ \w+ and 0\.00 GB in .*long \(0\.0 GB are free\)", long.err)
    assert "the disk will be full before that" in long.err


def test_memory_on_the_command_line(topa, tideos, videos, folder, whole, tmp_path) -> None:
    from topa.memory.bank import MemoryBank, build

    out = tmp_path / "memory"
    done = topa("memory", "build", whole, "--out", out, "--rows", 200, "--seed", 3)
    assert done.code == 0, done.err
    assert f"topa memory inspect {out}" in done.out
    bank = MemoryBank.load(out)
    store, everything = FeatureStore.open(whole), some_tideos(300)
    captions = [[frame.caption for frame in one.frames] for one in everything]
    expected = build([store[name] for name in store], captions, 200, 3)
    assert torch.equal(bank.values, expected.values.half())
    assert tuple(bank.captions) == expected.captions
    near = topa("memory", "build", whole, "--out", tmp_path / "near", "--rows", 10_000, "--near", 0.98, "--json")
    assert json.loads(near.out)["rows"] == len(MemoryBank.load(tmp_path / "near")) < store.manifest.counts["rows"]
    found = json.loads(topa("memory", "inspect", out, "--json").out)
    assert (found["rows"], found["width"], found["bad_rows"]) == (200, 24, 0)
    assert "captions:" in topa("memory", "inspect", out).out
    # Another file of the same Tideos, none at all, and one that was changed.
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(tideos, moved / "own.jsonl")
    encode(moved / "own.jsonl", moved / "store", folder)
    shutil.move(moved / "own.jsonl", moved / "elsewhere.jsonl")
    bare = topa("memory", "build", moved / "store", "--out", moved / "memory", "--rows", 5)
    assert "without captions" in bare.err
    assert MemoryBank.load(moved / "memory").captions is None
    named = ("--tideos", moved / "elsewhere.jsonl", "--seed", 3)
    assert topa("memory", "build", moved / "store", "--out", moved / "memory", "--rows", 200, *named).code == 0
    assert tuple(MemoryBank.load(moved / "memory").captions) == expected.captions
    write_jsonl(some_tideos(300, seed=1), moved / "own.jsonl")
    changed = topa("memory", "build", moved / "store", "--out", moved / "memory", "--rows", 5)
    assert changed.code == 2
    assert "was changed since" in changed.err
    # And what no memory can be made of.
    encode(videos, tmp_path / "images", folder, frames=2)
    images = topa("memory", "build", tmp_path / "images", "--out", out, "--rows", 5)
    assert images.code == 2
    assert "Encode Tideos: topa encode TIDEOS" in images.err
    nothing = topa("memory", "build", tmp_path / "nothing", "--out", out, "--rows", 5)
    assert (nothing.code, "found nothing there" in nothing.err) == (1, True)


def test_hidden_files_of_the_user_stay(tideos, folder, tmp_path) -> None:
    """Only what a killed run was writing is cleared away, and nothing of a folder that is refused."""
    encode(tideos, tmp_path / "store", folder)
    own = [tmp_path / "store" / name for name in (".features-mine", ".index.html", ".run.json.swp", ".failed.json.bak")]
    for path in own:
        path.write_text("mine")
    left = tmp_path / "store" / ".features-00001.safetensors.abcd_123"
    left.write_bytes(b"half")
    record_of(left.parent).add(left.name, RecordedFile("unfinished"))
    (tmp_path / "store" / "manifest.json").unlink()
    with pytest.raises(ArtifactMismatch):
        encode(tideos, tmp_path / "store", folder, chunk=32)
    assert left.exists()
    encode(tideos, tmp_path / "store", folder)
    assert all(path.read_text() == "mine" for path in own)
    assert not left.exists()
