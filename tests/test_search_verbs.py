"""`topa search` and `topa when`, on videos of the micro world."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from topa.core.embedded import resolve
from topa.features.encode_video import encode_video
from topa.features.encoder import Encoder
from topa.features.store import FeatureStoreWriter
from topa.library.contents import Contents, Video
from topa.microworld.writer import make_videos


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two videos, with what they show in their first second, and a library of them."""
    folder = tmp_path_factory.mktemp("world")
    made = make_videos(folder, 2, 8, show=False)
    encoder = Encoder.from_pretrained(resolve("microworld/clip"))
    writer = FeatureStoreWriter(folder / "store", encoder.identity, encoder.width, "image")
    for video in made:
        writer.add(encode_video(video.path, encoder, 20).features, video.id)
    videos = [Video(video.id, f"videos/{video.path.name}", 5.0, 20) for video in made]
    return made, Contents([writer.close()], videos, folder), encoder


@pytest.fixture
def opened(world, monkeypatch):
    """What the index of a library gives, without it."""
    _, contents, encoder = world
    library = SimpleNamespace(contents=contents, towers=lambda: encoder)
    monkeypatch.setattr("topa.library.search_verbs.Library.open", lambda path: library)
    return contents


def test_search_says_where(world, opened, topa, tmp_path):
    made, *_ = world
    done = topa("search", tmp_path, made[1].captions[0], "--top", 2, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)["moments"]
    assert len(told) == 2
    assert told[0]["video"] == f"videos/{made[1].path.name}"
    assert told[0]["start"] <= 0.5 <= told[0]["end"]
    assert told[0]["score"] >= told[1]["score"]
    done = topa("search", tmp_path, made[1].captions[0], "--path", f"*{made[0].id}*", "--after", 2, "--before", 4)
    assert done.code == 0, done.err
    assert all(made[0].path.name in line for line in done.out.splitlines())
    assert done.out


def test_search_refuses(opened, topa, tmp_path):
    done = topa("search", tmp_path, "a ball", "--after", 3, "--before", 1)
    assert (done.code, "expected after below before" in done.err) == (2, True)
    done = topa("search", tmp_path, "a ball", "--similarity", "centered")
    assert (done.code, "centred" in done.err) == (2, True)
    done = topa("search", tmp_path, "a ball", "--similarity", "projected")
    assert (done.code, "--model" in done.err) == (2, True)
    done = topa("search", tmp_path, "a ball", "--path", "none/*")
    assert (done.code, "found no path that matches 'none/*'" in done.err) == (2, True)


def test_when_of_a_library_and_of_a_file_agree(world, opened, topa, tmp_path):
    made, *_ = world
    words = made[1].captions[0]
    done = topa("when", tmp_path, words, "--path", f"*{made[1].id}*", "--top", 1, "--json")
    assert done.code == 0, done.err
    (inside,) = json.loads(done.out)["moments"]
    done = topa("when", made[1].path, words, "--top", 1, "--json")
    assert done.code == 0, done.err
    (alone,) = json.loads(done.out)["moments"]
    assert (alone["start"], alone["end"]) == (inside["start"], inside["end"])
    assert alone["start"] <= 0.5 <= alone["end"]


def test_when_through_the_memory_of_a_model(world, topa, micro_model):
    made, *_ = world
    words = made[0].path, made[0].captions[0]
    through = topa("when", *words, "--similarity", "projected", "--model", micro_model)
    assert through.code == 0, through.err
    raw = topa("when", *words)
    assert through.out.split()[0] != raw.out.split()[0]


def test_when_refuses(world, topa, tmp_path):
    made, *_ = world
    (tmp_path / "no.mp4").write_text("no")
    assert topa("when", tmp_path / "no.mp4", "a ball").code == 2
    assert topa("when", made[0].path, "a ball", "--path", "*").code == 2
    assert topa("when", Path(tmp_path), "a ball", "--encoder", "microworld/clip").code == 2
