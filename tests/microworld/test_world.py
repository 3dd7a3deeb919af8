"""Stories: one change at a time, no toy twice, equal draws give equal stories."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import astuple

import pytest

from topa.microworld.world import ASPECTS, COLOURS, KINDS, PLACES, POSITIONS, SCENES, SIZES, Scene, Story, write_story

STORIES = [write_story(random.Random(seed)) for seed in range(1500)]
MOVED = {
    frozenset({"kind", "colour"}): "toy",
    frozenset({"colour"}): "colour",
    frozenset({"size"}): "size",
    frozenset({"position"}): "position",
    frozenset({"place"}): "place",
}


def differing(a: Scene, b: Scene) -> frozenset[str]:
    names = ("kind", "colour", "size", "position", "place")
    return frozenset(n for n, x, y in zip(names, astuple(a), astuple(b), strict=True) if x != y)


def test_exactly_the_told_aspect_changes() -> None:
    for story in STORIES:
        assert len(story.scenes) == SCENES
        assert len(story.changes) == SCENES - 1
        for before, after, aspect in zip(story.scenes, story.scenes[1:], story.changes, strict=False):
            assert MOVED[differing(before, after)] == aspect


def test_a_toy_never_returns() -> None:
    for story in STORIES:
        kinds = [s.kind for s in story.scenes]
        runs = [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k]
        assert len(runs) == len(set(runs))


def test_every_value_and_every_change_is_common() -> None:
    for field, values in (("kind", KINDS), ("colour", COLOURS), ("size", SIZES), ("position", POSITIONS)):
        counts = Counter(getattr(s, field) for story in STORIES for s in story.scenes)
        assert set(counts) == set(values)
        assert min(counts.values()) > 0.6 * SCENES * len(STORIES) / len(values)
    assert {s.place for story in STORIES for s in story.scenes} == set(PLACES)
    changes = Counter(a for story in STORIES for a in story.changes)
    assert set(changes) == set(ASPECTS)
    assert min(changes.values()) > 0.15 * (SCENES - 1) * len(STORIES)
    assert {len({s.kind for s in story.scenes}) for story in STORIES} == {1, 2, 3, 4, 5}


def test_equal_seeds_give_equal_stories() -> None:
    assert [write_story(random.Random(seed)) for seed in range(50)] == STORIES[:50]
    assert len(set(STORIES)) > 0.99 * len(STORIES)


def test_events_lie_between_equal_scenes() -> None:
    scene = Scene("ball", "red", "small", "left", "beach")
    story = Story((scene, scene, scene, scene), ("size", "toy", "place"))
    assert story.event_times(10.0) == ((2.5, "size"), (5.0, "toy"), (7.5, "place"))


@pytest.mark.parametrize("scenes", [1, 3, 8])
def test_other_lengths(scenes: int) -> None:
    assert len(write_story(random.Random(4), scenes).scenes) == scenes
