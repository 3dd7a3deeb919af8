"""Search in a library: the exact best, by the loop that says what they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from topa.core.errors import ArtifactMismatch, InputError, UsageError
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.library import search as module
from topa.library.contents import Contents, Video
from topa.library.moments import Rule, overlap, segments
from topa.library.search import FEWEST, Filter, Search, when
from topa.library.similarity import FrameScorer, compare
from topa.memory.bank import MemoryBank
from topa.memory.projection import project

D = 16


def rows(seed: int, count: int) -> Tensor:
    return normalize(torch.randn(count, D, generator=torch.Generator().manual_seed(seed)), dim=-1)


def store(folder: Path, videos: dict[str, Tensor], shard_rows: int = 70) -> FeatureStore:
    writer = FeatureStoreWriter(folder, "clip", D, "image", shard_rows=shard_rows)
    for name, values in videos.items():
        times = torch.arange(len(values), dtype=torch.float64)
        writer.add(FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "image", "clip", times), name)
    return writer.close()


def library(folder: Path, count: int = 40, gone: int = 3) -> Contents:
    """`count` videos of 3 to 11 frames, a frame a second; the store has more, which the library no longer has."""
    videos = {f"id-{n}": rows(n, 3 + n % 9) for n in range(count + gone)}
    half = list(videos)[: count // 2]
    stores = [store(folder / "a", {n: videos[n] for n in half})]
    stores.append(store(folder / "b", {n: v for n, v in videos.items() if n not in half}))
    return Contents(
        stores, [Video(f"id-{n}", f"{n % 2}/v{n}.mp4", 3.0 + n % 9, 3 + n % 9) for n in range(count)], folder
    )


@pytest.fixture
def memory() -> MemoryBank:
    return MemoryBank(rows(999, 50), "clip")


def naive(contents: Contents, query: Tensor, similarity: str, memory: MemoryBank, top: int) -> list[tuple]:
    """Everything scored, one video at a time, in float32."""
    every = {video: contents.features(video) for video in contents.videos}
    pictures = torch.cat([f.values for f in every.values()]).mean(0)
    words = memory.values.mean(0)

    def look(values: Tensor) -> Tensor:
        if similarity == "raw":
            return values @ query
        if similarity == "projected":
            return project(values, memory.values, 0.1) @ query
        return normalize(values - pictures, dim=-1) @ normalize(query - words, dim=-1)

    floor = torch.cat([look(f.values) for f in every.values()]).mean().item()
    found = []
    for video, features in every.items():
        scores = look(features.values).numpy()
        for own in segments(scores, features.times.numpy(), video.duration, floor, module.RULE):
            found.append((own.score, video.path, own.start, own.end))
    return sorted(found, key=lambda one: -one[0])[:top]


@pytest.mark.parametrize("similarity", ["raw", "centred", "projected"])
def test_the_best_moments_are_those_of_a_loop_over_everything(tmp_path, memory, similarity, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 7)  # videos lie across chunks
    contents = library(tmp_path)
    queries = rows(1234, 5)
    found = Search(contents, similarity, memory, 0.1).moments(queries, 12)
    for query, own in zip(queries, found, strict=True):
        expected = naive(contents, query, similarity, memory, 12)
        assert [(m.video.path, m.start, m.end) for m in own] == [one[1:] for one in expected]
        np.testing.assert_allclose([m.score for m in own], [one[0] for one in expected], atol=2e-3)


def test_many_queries_are_answered_as_each_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_QUERIES", 2)
    search = Search(library(tmp_path))
    queries = rows(7, 5)
    together = search.moments(queries, 4)
    for query, own in zip(queries, together, strict=True):
        assert [(m.video, m.frames) for m in search.moments(query[None], 4)[0]] == [(m.video, m.frames) for m in own]


def test_a_filter_leaves_nothing_else(tmp_path):
    search = Search(library(tmp_path))
    query = rows(5, 1)
    own = search.moments(query, 100, Filter(path="1/*", after=2, before=5.5))[0]
    assert own
    assert all(m.video.path.startswith("1/") for m in own)
    assert all(2 <= time <= 5.5 for m in own for time in m.frames)
    free = search.moments(query, 100)[0]
    assert {m.video.path[0] for m in free} == {"0", "1"}
    assert max(m.end for m in free) > 6
    assert search.moments(query, 100, Filter(after=11))[0] == []


def test_moments_of_a_video_do_not_overlap_and_begin_with_their_best_frame(tmp_path):
    contents = library(tmp_path)
    features = {video: contents.features(video) for video in contents.videos}
    query = rows(5, 1)
    found = Search(contents).moments(query, 1000, rule=Rule(0.2, 0))[0]
    assert len(found) > len(contents)
    for video in contents.videos:
        own = sorted((m for m in found if m.video == video), key=lambda m: m.start)
        assert all(a.end <= b.start for a, b in pairwise(own))
        scores = features[video].values @ query[0]
        for m in own:
            assert m.score == pytest.approx(float(scores[int(m.frames[0])]), abs=2e-3)
            assert m.start <= m.frames[0] <= m.end


def test_of_equal_files_the_one_whose_path_matches_is_named(tmp_path):
    made = store(tmp_path / "s", {"same": rows(0, 3), "other": rows(1, 3)})
    videos = [Video("same", "b/copy.mp4", 3, 3), Video("same", "a/first.mp4", 3, 3), Video("other", "c.mp4", 3, 3)]
    search = Search(Contents([made], videos, tmp_path))
    query = rows(0, 1)
    assert [m.video.path for m in search.moments(query, 1)[0]] == ["a/first.mp4"]
    assert [m.video.path for m in search.moments(query, 1, Filter("b/*"))[0]] == ["b/copy.mp4"]


def test_a_small_library_has_the_floor_of_each_video(tmp_path):
    """Its average would say what its few videos show."""
    assert Search(library(tmp_path / "a", FEWEST - 1))._floors(rows(0, 2)) == [None, None]
    assert None not in Search(library(tmp_path / "b", FEWEST))._floors(rows(0, 2))
    contents = library(tmp_path / "c", 1, gone=0)
    (own,) = Search(contents).moments(rows(5, 1), 1)
    alone = when(contents.features(contents.videos[0]), rows(5, 1)[0], 3.0, 1)[0]
    assert (own[0].start, own[0].end) == (alone.start, alone.end)


def test_what_is_refused(tmp_path, memory):
    contents = library(tmp_path / "a")
    search = Search(contents)
    with pytest.raises(UsageError, match="top=0"):
        search.moments(rows(0, 1), 0)
    with pytest.raises(InputError, match=r"'x\*' among 40 videos, e.g. '0/v0.mp4'"):
        search.moments(rows(0, 1), 1, Filter("x*"))
    with pytest.raises(UsageError, match="after=3, before=1"):
        Filter(after=3, before=1)
    with pytest.raises(ArtifactMismatch, match=r"queries \(1, 8\); expected \[Q, 16\]"):
        search.moments(torch.zeros(1, 8), 1)
    with pytest.raises(UsageError, match="needs a memory of captions"):
        Search(contents, "centred")
    with pytest.raises(ArtifactMismatch, match="memory is of siglip, the library of clip"):
        Search(contents, "projected", MemoryBank(memory.values, "siglip"))
    with pytest.raises(UsageError, match="centred"):
        Search(contents, "central", memory)
    with pytest.raises(InputError, match="library without a video"):
        Search(Contents([store(tmp_path / "b", {"id": rows(0, 2)})], [], tmp_path))


def test_damaged_vectors_are_named(tmp_path):
    folder = tmp_path / "s"
    store(folder, {"bad": rows(0, 3), "good": rows(1, 3)})
    file = next(folder.glob("features-*.safetensors"))
    data = bytearray(file.read_bytes())
    value = rows(0, 3)[1, :4].half().numpy().tobytes()
    at = data.index(value)
    data[at : at + 2] = np.float16("nan").tobytes()
    file.write_bytes(data)
    contents = Contents([FeatureStore.open(folder)], [Video("bad", "bad.mp4", 3, 3), Video("good", "g", 3, 3)], folder)
    with pytest.raises(InputError, match=r"bad\.mp4: its vectors hold NaN"):
        Search(contents).moments(rows(0, 1), 1)


def test_when_finds_the_part_that_shows_it():
    query = rows(0, 1)[0]
    values = rows(1, 20)
    values[6:10] = normalize(query + 0.1 * rows(2, 4), dim=-1)
    times = torch.arange(20, dtype=torch.float64) / 2
    features = FrameFeatures.image(values, "clip", times)
    first, *rest = when(features, query, 10.0, 3)
    assert (first.start, first.end) == (2.75, 4.75)
    assert set(first.frames) == {6, 7, 8, 9}
    assert all(overlap((first.start, first.end), [(one.start, one.end)]) == 0 for one in rest)
    with pytest.raises(UsageError, match="top=0"):
        when(features, query, 10.0, 0)
    with pytest.raises(ArtifactMismatch, match="found text features"):
        when(FrameFeatures(values, features.valid, "text", "clip", times), query, 10.0)
    with pytest.raises(InputError, match="without times"):
        when(FrameFeatures(values, features.valid, "image", "clip"), query, 10.0)


def test_centring_changes_nothing_where_there_is_no_gap():
    frames, queries = rows(3, 6), rows(4, 2)
    none = torch.zeros(D)
    same = FrameScorer("centred", pictures=none, words=none)
    torch.testing.assert_close(same.scores(same.queries(queries), frames), queries @ frames.T)


def test_centring_takes_away_what_all_pictures_share(memory):
    """Pictures that were all moved the same way are ranked as if they hadn't been."""
    frames = rows(3, 200)
    moved = frames + 2 * rows(8, 1)
    ways = [compare("centred", "clip", cloud, memory) for cloud in (frames, moved)]
    query = rows(4, 1)
    before = ways[0].scores(ways[0].queries(query), frames)
    gap = (moved - ways[1].pictures) @ ways[1].queries(query)[0]
    torch.testing.assert_close((frames - ways[0].pictures) @ ways[0].queries(query)[0], gap)
    assert before.shape == (1, 200)
