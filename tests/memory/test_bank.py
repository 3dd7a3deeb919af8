"""The memory bank: what is drawn into it, how it is kept, what it refuses, and how it reads a frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from topa.core.artifacts import MANIFEST, read_manifest
from topa.core.errors import ArtifactError, ArtifactMismatch, InputError, UsageError
from topa.features.frames import FrameFeatures, Space
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.memory.bank import MemoryBank, build, build_from_store
from topa.memory.cached_projection import project_cached

D = 16


def unit(*shape: int, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def frames(values: Tensor, space: Space = "image", encoder: str = "clip") -> FrameFeatures:
    return FrameFeatures.unpadded(values, space, encoder)


CORPUS = [frames(unit(4, D, seed=i), "text") for i in range(10)]
CAPTIONS = [[f"video {i} frame {t}" for t in range(4)] for i in range(10)]


def bank(rows: int = 30, captions: tuple[str, ...] | None = None) -> MemoryBank:
    return MemoryBank(unit(rows, D, seed=99), "clip", captions)


def test_rows_are_drawn_with_their_captions() -> None:
    memory = build(CORPUS, CAPTIONS, rows=25, seed=1)
    assert len(memory) == 25
    assert memory.encoder == "clip"
    assert memory.captions is not None
    assert len(set(memory.captions)) == 25
    for row, caption in zip(memory.values, memory.captions, strict=True):
        _, i, _, t = caption.split()
        assert torch.equal(row, CORPUS[int(i)].values[int(t)])


def test_the_seed_decides_which() -> None:
    drawn = [build(CORPUS, CAPTIONS, rows=10, seed=seed).captions for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_at_most_what_is_there_and_never_padding() -> None:
    assert len(build(CORPUS, CAPTIONS, rows=1000, seed=0)) == 40
    valid = torch.tensor([True, False, True, False])
    padded = FrameFeatures(unit(4, D) * valid[:, None], valid, "text", "clip")
    memory = build([padded], [CAPTIONS[0]], rows=9, seed=0)
    assert memory.captions == ("video 0 frame 0", "video 0 frame 2")
    assert build(CORPUS, None, rows=3, seed=0).captions is None


def test_what_cannot_be_built() -> None:
    with pytest.raises(InputError, match="topa encode TIDEOS"):
        build([], None, rows=5, seed=0)
    with pytest.raises(InputError, match="Encode Tideos, not videos"):
        build([*CORPUS, frames(unit(2, D))], None, rows=5, seed=0)
    with pytest.raises(InputError, match="asked for 0 rows of 40 frames"):
        build(CORPUS, None, rows=0, seed=0)
    nothing = FrameFeatures(torch.zeros(2, D), torch.zeros(2, dtype=torch.bool), "text", "clip")
    with pytest.raises(InputError, match="asked for 5 rows of 0 frames"):
        build([nothing], None, rows=5, seed=0)
    with pytest.raises(ArtifactMismatch, match="2 encoders: clip, other"):
        build([*CORPUS, frames(unit(2, D), "text", "other")], None, rows=5, seed=0)


def store_of(folder: Path, features: list[FrameFeatures], shard_rows: int = 6) -> FeatureStore:
    writer = FeatureStoreWriter(folder, "clip", D, features[0].space, shard_rows)
    for number, own in enumerate(features):
        writer.add(own, f"item {number}")
    return writer.close()


def captions_of(name: str) -> list[str]:
    return CAPTIONS[int(name.split()[1])]


def test_rows_of_a_store_are_those_of_its_features(tmp_path: Path) -> None:
    store = store_of(tmp_path, CORPUS)
    stored = [store[name] for name in store]
    for rows, seed in ((7, 0), (25, 1), (100, 2)):
        expected = build(stored, CAPTIONS, rows, seed)
        found = build_from_store(store, rows, seed, captions=captions_of)
        assert found.encoder == "clip"
        assert torch.equal(found.values, expected.values.half())
        assert tuple(found.captions) == expected.captions
    # Of some items only, in the order in which they are named.
    names = ["item 7", "item 2", "item 3"]
    expected = build([store[name] for name in names], [captions_of(name) for name in names], 5, 3)
    found = build_from_store(store, 5, 3, ids=names, captions=captions_of)
    assert torch.equal(found.values, expected.values.half())
    assert tuple(found.captions) == expected.captions
    assert build_from_store(store, 5, 3).captions is None


def test_only_the_chosen_rows_of_a_store_are_read(tmp_path: Path) -> None:
    store = store_of(tmp_path, CORPUS, shard_rows=4)
    (tmp_path / "features-00000.safetensors").write_bytes(b"cut")
    kept = [f"item {i}" for i in range(1, 10)]
    assert len(build_from_store(FeatureStore.open(tmp_path), 36, 0, ids=kept)) == 36
    with pytest.raises(ArtifactError, match="features-00000"):
        build_from_store(store, 40, 0)


def test_near_rows_of_a_store_are_left_out_with_their_captions(tmp_path: Path) -> None:
    doubled = [frames(torch.cat([own.values[:2], own.values[:2]]), "text") for own in CORPUS]
    found = build_from_store(store_of(tmp_path, doubled), 40, 0, captions=captions_of, near=0.98)
    assert tuple(found.captions) == tuple(f"video {i} frame {t}" for i in range(10) for t in range(2))
    torch.testing.assert_close(found.values[:2].float(), CORPUS[0].values[:2], atol=1e-3, rtol=0)


def test_what_cannot_be_built_from_a_store(tmp_path: Path) -> None:
    store = store_of(tmp_path / "text", CORPUS)
    images = store_of(tmp_path / "images", [frames(own.values) for own in CORPUS])
    with pytest.raises(ArtifactMismatch, match=r"image space; expected text space.*topa encode TIDEOS"):
        build_from_store(images, 5, 0)
    with pytest.raises(InputError, match="asked for 0 rows of 40 frames"):
        build_from_store(store, 0, 0)
    with pytest.raises(InputError, match="no features of 'nobody'"):
        build_from_store(store, 5, 0, ids=["item 1", "nobody"])
    with pytest.raises(InputError, match=r"'item 0' has 4 frames, its Tideo 1; .*--tideos"):
        build_from_store(store, 40, 0, captions=lambda name: ["one"])
    with pytest.raises(UsageError, match=r"--near: found 1\.5"):
        build_from_store(store, 5, 0, near=1.5)


def test_a_memory_can_be_saved_over_itself(tmp_path: Path) -> None:
    memory = bank(3, ("a", "b", "c"))
    memory.save(tmp_path)
    loaded = MemoryBank.load(tmp_path)
    loaded.save(tmp_path)
    again = MemoryBank.load(tmp_path)
    assert torch.equal(again.values, loaded.values)
    assert tuple(again.captions) == ("a", "b", "c")


@pytest.mark.parametrize("name", ["memory.safetensors", "captions.safetensors"])
def test_a_cut_memory_is_told(tmp_path: Path, name: str) -> None:
    bank(3, ("a", "b", "c")).save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"memory that is damaged .* Build the memory again"):
        MemoryBank.load(tmp_path)


def test_what_is_no_memory() -> None:
    with pytest.raises(InputError, match="expected \\[M, D\\]"):
        MemoryBank(torch.empty(0, D), "clip")
    with pytest.raises(InputError, match="2 captions for 3 rows"):
        MemoryBank(unit(3, D), "clip", ("a", "b"))


@pytest.mark.parametrize("captions", [None, ("Fußball", "球", "a ball")])
def test_save_and_load(tmp_path: Path, captions: tuple[str, ...] | None) -> None:
    memory = bank(3, captions)
    manifest = memory.save(tmp_path / "m")
    assert (manifest.kind, manifest.encoder, manifest.width, manifest.counts) == ("memory", "clip", D, {"rows": 3})
    assert read_manifest(tmp_path / "m", "memory", verify=True).hash == manifest.hash
    assert load_file(tmp_path / "m" / "memory.safetensors")["values"].dtype == torch.float16
    loaded = MemoryBank.load(tmp_path / "m")
    assert (loaded.encoder, loaded.values.dtype) == ("clip", torch.float16)
    assert (None if loaded.captions is None else tuple(loaded.captions)) == captions
    torch.testing.assert_close(loaded.values.float(), memory.values, atol=1e-3, rtol=0)
    torch.testing.assert_close(loaded.values.float().norm(dim=-1), torch.ones(3), atol=1e-3, rtol=0)
    # What was loaded is kept as it is from then on.
    loaded.save(tmp_path / "again")
    torch.testing.assert_close(MemoryBank.load(tmp_path / "again").values, loaded.values, atol=1e-3, rtol=0)
    assert memory.save(tmp_path / "same").hash == manifest.hash


def test_a_memory_saved_over_another_keeps_nothing_of_it(tmp_path: Path) -> None:
    bank(3, ("a", "b", "c")).save(tmp_path)
    bank(3).save(tmp_path)
    assert MemoryBank.load(tmp_path).captions is None


def test_a_save_that_fails_leaves_no_finished_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    bank(3, ("a", "b", "c")).save(tmp_path)
    monkeypatch.setattr("topa.memory.bank.write_arrays", full)
    with pytest.raises(OSError, match="disk full"):
        bank(3, ("d", "e", "f")).save(tmp_path)
    assert not (tmp_path / MANIFEST).exists()
    with pytest.raises(ArtifactError, match="unfinished"):
        MemoryBank.load(tmp_path)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (frames(unit(2, D), "text"), "found features in text space; expected image space"),
        (frames(unit(2, D), "projected"), "found features in projected space; expected image space"),
        (frames(unit(2, D), encoder="other"), "features of other .* topa encode VIDEO --encoder ENCODER"),
        (frames(unit(2, D + 1)), rf"\({D + 1} wide\)\. Encode the videos again: topa encode VIDEO "),
    ],
)
def test_features_that_do_not_fit_are_refused(features: FrameFeatures, told: str) -> None:
    memory = bank(3, ("a", "b", "c"))
    for top_k in (0, 3):
        with pytest.raises(ArtifactMismatch, match=told):
            memory.project(features, 0.01, top_k=top_k)


def test_projection_keeps_times_and_padding_and_says_its_space() -> None:
    valid, times = torch.tensor([True, True, False]), torch.tensor([0.5, 1.5, float("nan")], dtype=torch.float64)
    given = FrameFeatures(unit(3, D) * valid[:, None], valid, "image", "clip", times)
    found = bank().project(given, 0.05).features
    assert (found.space, found.encoder) == ("projected", "clip")
    assert torch.equal(found.valid, valid)
    assert found.times is times
    assert found.values[2].eq(0).all()
    memory = bank().values
    mean = torch.softmax(given.values[:2] @ memory.T / 0.05, -1) @ memory
    torch.testing.assert_close(found.values[:2], functional.normalize(mean, dim=-1))


def test_a_stored_row_projects_to_itself_as_the_temperature_falls(tmp_path: Path) -> None:
    bank(captions=tuple(f"caption {i}" for i in range(30))).save(tmp_path)
    memory = MemoryBank.load(tmp_path)
    given = frames(memory.values[:7].clone())
    far = [
        (memory.project(given, t).features.values - given.values).norm(dim=-1).max().item() for t in (0.5, 0.05, 1e-4)
    ]
    assert far[0] > far[1] > far[2]
    assert far[2] < 1e-3
    for i, reading in enumerate(memory.project(given, 1e-4, top_k=3).readings):
        assert reading.captions[0] == f"caption {i}"
        assert reading.weights[0] > 0.999


def test_readings_add_equal_captions_up_and_go_by_weight() -> None:
    one, two = torch.eye(D)[0], torch.eye(D)[1]
    rows = torch.stack([one, two, two, -one])
    memory = MemoryBank(rows, "clip", ("a cat", "a dog", "a dog", "a bird"))
    frame = functional.normalize(1.02 * one + two, dim=-1)
    weights = torch.softmax(rows @ frame / 0.5, 0)
    assert weights[0] > weights[1]  # alone, the cat's row weighs most; together the dog's do
    (reading,) = memory.project(frames(frame[None]), 0.5, top_k=2).readings
    assert reading.captions == ("a dog", "a cat")
    assert reading.weights == pytest.approx(((weights[1] + weights[2]).item(), weights[0].item()))
    (whole,) = memory.project(frames(frame[None]), 0.5, top_k=9).readings
    assert whole.captions == ("a dog", "a cat", "a bird")
    assert sum(whole.weights) == pytest.approx(1)


def test_readings_need_captions() -> None:
    assert bank().project(frames(unit(1, D)), 0.01, top_k=3).readings == ()
    assert bank(3, ("a", "b", "c")).project(frames(unit(1, D)), 0.01).readings == ()


def test_many_videos_at_once_are_projected_as_one_by_one() -> None:
    memory = MemoryBank(unit(30, D, seed=3).half(), "clip")
    videos = [frames(unit(n, D, seed=n), "image") for n in (1, 4, 2)]
    seen = torch.tensor([True, True, False, True])
    videos[1] = replace(videos[1], values=videos[1].values * seen[:, None], valid=seen)
    memory = replace(memory, captions=tuple(f"caption {i}" for i in range(30)))
    together = memory.project_all(videos, 0.05, top_k=2)
    for video, (found, readings) in zip(videos, ((p.features, p.readings) for p in together), strict=True):
        one = memory.project(video, 0.05, top_k=2)
        assert [r.captions for r in readings] == [r.captions for r in one.readings]
        assert len(readings) == len(video)
        alone = one.features
        torch.testing.assert_close(found.values, alone.values)
        assert (found.space, found.encoder) == ("projected", "clip")
        assert torch.equal(found.valid, video.valid)
    assert memory.project_all([], 0.05) == []
    with pytest.raises(ArtifactMismatch, match="the features of other"):
        memory.project_all([*videos, frames(unit(2, D), "image", "other")], 0.05)


def test_a_second_projection_is_read_from_the_cache(tmp_path, monkeypatch) -> None:
    memory = MemoryBank(unit(30, D, seed=3), "clip")
    memory.save(tmp_path / "memory")
    loaded, videos = MemoryBank.load(tmp_path / "memory"), [frames(unit(4, D, seed=n), "image") for n in range(3)]
    first = project_cached(loaded, videos, 0.05, tmp_path / "cache")
    calls = []
    project_all = MemoryBank.project_all
    monkeypatch.setattr(MemoryBank, "project_all", lambda *args: calls.append(args) or project_all(*args))
    again = project_cached(loaded, videos, 0.05, tmp_path / "cache")
    assert calls == []
    assert all(torch.equal(a.values, b.values) for a, b in zip(first, again, strict=True))
    # Another temperature, other frames or another memory is something else.
    project_cached(loaded, videos, 0.06, tmp_path / "cache")
    project_cached(loaded, videos[::-1], 0.05, tmp_path / "cache")
    other = MemoryBank(unit(30, D, seed=4), "clip")
    project_cached(other, videos, 0.05, tmp_path / "cache")
    assert len(calls) == 3
    # A damaged file is made again.
    for path in (tmp_path / "cache").glob("[!.]*"):
        path.write_bytes(b"cut")
    mended = project_cached(loaded, videos, 0.05, tmp_path / "cache")
    assert len(calls) == 4
    torch.testing.assert_close(mended[0].values, first[0].values)
