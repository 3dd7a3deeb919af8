"""The store gives back what was put in, and refuses what doesn't fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topa.core.arrays import map_arrays, write_arrays
from topa.core.errors import ArtifactError, ArtifactMismatch, InputError, OutputError
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStore, FeatureStoreWriter

WIDTH = 16


def features(frames: int, seed: int = 0, space="image", times: bool = True, width: int = WIDTH) -> FrameFeatures:
    generator = torch.Generator().manual_seed(seed)
    values = torch.nn.functional.normalize(torch.randn(frames, width, generator=generator), dim=-1)
    when = torch.arange(frames, dtype=torch.float64) / 3 if times else None
    return FrameFeatures.unpadded(values, space, "tiny", when)


def write(folder, lengths, shard_rows=1 << 16, **kwargs) -> FeatureStore:
    writer = FeatureStoreWriter(folder, "tiny", WIDTH, "image", shard_rows)
    for number, length in enumerate(lengths):
        writer.add(features(length, number, **kwargs), f"item {number}")
    return writer.close({"source": "abc"}, {"frames": 3})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 9), max_size=12), shard_rows=st.integers(1, 20))
def test_round_trip(tmp_path, lengths, shard_rows):
    store = write(tmp_path / "store", lengths, shard_rows)
    assert list(store) == [f"item {number}" for number in range(len(lengths))]
    for number in reversed(range(len(lengths))):
        found, expected = store[f"item {number}"], features(lengths[number], number)
        assert torch.allclose(found.values, expected.values, atol=1e-3)
        assert torch.allclose(found.values.norm(dim=-1), torch.ones(len(found)), atol=1e-6)
        assert torch.equal(store.rows(f"item {number}"), found.values)
        assert torch.equal(found.times, expected.times)
        assert found.valid.all()
        assert (found.space, found.encoder) == ("image", "tiny")
    assert [name for name, _ in store.items()] == list(store)


def test_what_the_manifest_tells(tmp_path):
    store = write(tmp_path, [2, 3], shard_rows=2)
    manifest = FeatureStore.open(tmp_path).manifest
    assert manifest.counts == {"items": 2, "rows": 5}
    assert manifest.parents == {"source": "abc"}
    assert manifest.config == {"frames": 3, "space": "image"}
    assert sorted(manifest.files) == ["features-00000.safetensors", "features-00001.safetensors", "index.safetensors"]
    assert (store.encoder, store.width, store.space, len(store)) == ("tiny", WIDTH, "image", 2)
    assert "item 1" in store
    assert "item 2" not in store


def test_the_same_features_give_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a", [2, 3]), write(tmp_path / "b", [2, 3])
    assert first.manifest.hash == second.manifest.hash


def test_no_times_and_no_padding(tmp_path):
    writer = FeatureStoreWriter(tmp_path, "tiny", WIDTH, "text")
    whole = features(3, space="text", times=False)
    writer.add(whole.resample(8), "padded")
    store = writer.close()
    assert store["padded"].times is None
    assert torch.allclose(store["padded"].values, whole.values, atol=1e-3)


def test_reading_never_writes(tmp_path):
    store = write(tmp_path, [3])
    expected = store["item 0"].values.clone()
    store["item 0"].values.zero_()
    store["item 0"].times.zero_()
    assert torch.equal(store["item 0"].values, expected)
    assert store["item 0"].times[2] > 0


def test_what_the_writer_refuses(tmp_path):
    writer = FeatureStoreWriter(tmp_path, "tiny", WIDTH, "image")
    writer.add(features(2), "a")
    with pytest.raises(InputError, match="'a' twice"):
        writer.add(features(2), "a")
    with pytest.raises(ArtifactMismatch, match="'text'"):
        writer.add(features(2, space="text"), "b")
    with pytest.raises(ArtifactMismatch, match="expected"):
        writer.add(features(2, width=8), "b")
    nothing = FrameFeatures(torch.zeros(2, WIDTH), torch.zeros(2, dtype=torch.bool), "image", "tiny")
    with pytest.raises(InputError, match="no valid frame"):
        writer.add(nothing, "b")
    assert list(writer.close()) == ["a"]


def test_what_the_store_expects(tmp_path):
    store = write(tmp_path, [2])
    assert store.expect("tiny", "image") is store
    with pytest.raises(ArtifactMismatch, match=r"made by tiny .* expected other.* topa encode INPUT --encoder ENCODER"):
        store.expect("other", "image")
    with pytest.raises(ArtifactMismatch, match=r"image space; expected text space.* topa encode "):
        store.expect("tiny", "text")
    with pytest.raises(InputError, match="no features of 'nobody'"):
        store["nobody"]


def test_an_empty_store_is_a_store(tmp_path):
    store = write(tmp_path, [])
    assert len(store) == 0
    with pytest.raises(InputError, match="it is empty"):
        store["nobody"]


def test_unfinished_and_damaged_folders(tmp_path):
    with pytest.raises(ArtifactError, match="found nothing there"):
        FeatureStore.open(tmp_path / "missing")
    write(tmp_path, [2, 3, 4], shard_rows=2)
    FeatureStoreWriter(tmp_path, "tiny", WIDTH, "image").add(features(2), "a")
    with pytest.raises(ArtifactError, match="unfinished"):
        FeatureStore.open(tmp_path)
    assert not list(tmp_path.glob("features-*"))


def test_a_changed_shard_is_noticed(tmp_path):
    write(tmp_path, [2, 3], shard_rows=2)
    shard = tmp_path / "features-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match=r"features-00001.*can't be read"):
        FeatureStore.open(tmp_path)["item 1"]
    shard.write_bytes((tmp_path / "features-00000.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match=r"features-00001.*doesn't fit index"):
        FeatureStore.open(tmp_path).batch(["item 1"], 3)
    index = tmp_path / "index.safetensors"
    whole = index.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", b"[" * 50):
        index.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"index\.safetensors.*can't be read"):
            FeatureStore.open(tmp_path)
    write(tmp_path / "other", [2, 3, 4])
    index.write_bytes((tmp_path / "other" / "index.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match=r"index\.safetensors.*doesn't fit manifest"):
        FeatureStore.open(tmp_path)
    index.write_bytes(whole)
    shard.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        FeatureStore.open(tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), frames=st.integers(1, 10), data=st.data())
def test_a_batch_is_what_resampling_each_item_gives(tmp_path, lengths, frames, data):
    store = write(tmp_path / "store", lengths, shard_rows=7)
    ids = [f"item {i}" for i in data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=20))]
    values, valid = store.batch(ids, frames)
    assert values.shape == (len(ids), frames, WIDTH)
    assert (values.dtype, valid.dtype) == (torch.float32, torch.bool)
    for row, own in zip(values, valid, strict=True):
        expected = store[ids.pop(0)].resample(frames)
        assert torch.equal(row, expected.values)
        assert torch.equal(own, expected.valid)


def test_lengths_and_single_rows(tmp_path):
    store = write(tmp_path, [2, 3, 5], shard_rows=4)
    assert [store.length(name) for name in store] == [2, 3, 5]
    assert store.lengths(["item 2", "item 0"]).tolist() == [5, 2]
    assert store.lengths().tolist() == [2, 3, 5]
    picked = store.pick(["item 2", "item 0", "item 2"], [4, 1, 0])
    assert torch.equal(picked, torch.stack([store.rows("item 2")[4], store.rows("item 0")[1], store.rows("item 2")[0]]))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 3.0, 0.0])
def test_rows_that_are_no_unit_rows_are_named(tmp_path, wrong):
    write(tmp_path, [2, 3, 4, 2], shard_rows=5)
    shard = tmp_path / "features-00000.safetensors"
    arrays = dict(map_arrays(shard).arrays)
    values = arrays["values"].copy()
    values[3] *= 0 if wrong == 0 else 1
    values[3, 5] = wrong  # of item 1
    write_arrays(shard, arrays | {"values": values})
    store = FeatureStore.open(tmp_path)
    for read in (
        lambda: store.batch(["item 0", "item 1", "item 2"], 4),
        lambda: store["item 1"],
        lambda: store.rows("item 1"),
        lambda: store.pick(["item 1", "item 1"], [0, 1]),
    ):
        with pytest.raises(InputError, match=r"features of 'item 1' hold NaN.*Encode again"):
            read()
    # What isn't asked for isn't looked at.
    assert store.batch(["item 0", "item 2"], 4)[1].sum() == 6
    assert store.batch(["item 1"], 1)[1].all()


def test_ids_that_are_not_there_are_named(tmp_path):
    store = write(tmp_path, [2, 3])
    with pytest.raises(InputError, match=r"no features of 'x', 'y', 'z' and 1 more among 2 items; .* e\.g\. 'item 0'"):
        store.batch(["item 0", "x", "y", "z", "w"], 2)
    with pytest.raises(InputError, match="no features of 'x'"):
        store.length("x")


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        FeatureStoreWriter(tmp_path / "file", "tiny", WIDTH, "image")
