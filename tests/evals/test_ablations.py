"""What each baseline takes away from a video, and what it leaves."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from topa import Topa
from topa.core.embedded import resolve
from topa.evals.ablations import VIEWS, baselines, show
from topa.evals.report import MODEL
from topa.features.frames import FrameFeatures


@pytest.fixture(scope="module")
def engine(micro_model) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


def images(engine: Topa, *lengths: int) -> dict[str, FrameFeatures]:
    generator = torch.Generator().manual_seed(3)
    found = {}
    for number, length in enumerate(lengths):
        values = functional.normalize(torch.randn(length, engine.encoder.width, generator=generator), dim=-1)
        valid = torch.ones(length, dtype=torch.bool)
        found[f"clip-{number}"] = FrameFeatures(values, valid, "image", engine.encoder.identity)
    return found


def test_each_view_of_a_video(engine):
    watched = images(engine, 5, 3)
    shown = show(engine, watched, list(VIEWS))
    values, valid = shown[MODEL]
    assert valid.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    for row, features in enumerate(watched.values()):
        alone = engine.memory.project(features, engine.config.temperature).values
        torch.testing.assert_close(values[row, : len(alone)], alone)
    assert not shown["blind"][0].any()
    assert torch.equal(shown["blind"][1], valid)
    single, one = shown["single_frame"]
    assert one.sum(dim=1).tolist() == [1, 1]
    assert torch.equal(single[:, 0], torch.stack([values[0, 2], values[1, 1]]))
    raw, there = shown["no_projection"]
    assert torch.equal(raw[1, :3], watched["clip-1"].values)
    assert torch.equal(there, valid)


def test_shuffled_frames_are_another_order_whatever_else_is_shown(engine):
    watched = images(engine, 5, 3)
    values = show(engine, watched, [MODEL, "shuffled_frames"])
    (right, valid), (shuffled, there) = values[MODEL], values["shuffled_frames"]
    assert torch.equal(there, valid)
    for row, length in enumerate((5, 3)):
        order = [right[row].tolist().index(frame) for frame in shuffled[row, :length].tolist()]
        assert order != sorted(order)
        assert sorted(order) == list(range(length))
    alone = show(engine, {"clip-1": watched["clip-1"]}, ["shuffled_frames"])["shuffled_frames"][0]
    torch.testing.assert_close(alone[0, :3], shuffled[1, :3])


def test_a_model_without_a_memory_has_no_projection_to_leave_out(engine, monkeypatch):
    assert baselines(engine) == ("blind", "shuffled_frames", "single_frame", "no_projection")
    monkeypatch.setattr(engine, "memory", None)
    assert baselines(engine) == ("blind", "shuffled_frames", "single_frame")


def test_centred_images_are_as_far_from_nothing_as_the_memory(engine):
    watched = images(engine, 5, 3)
    values, valid = show(engine, watched, ["centred"])["centred"]
    assert valid.sum(dim=1).tolist() == [5, 3]
    norms = torch.linalg.vector_norm(values, dim=-1)
    torch.testing.assert_close(norms, valid.float())
    rows = torch.cat([features.values for features in watched.values()])
    moved = functional.normalize(rows + engine.memory.values.float().mean(0) - rows.mean(0), dim=-1)
    torch.testing.assert_close(values[valid], moved)


def test_captions_are_read_in_place_of_frames(engine):
    watched = images(engine, 5, 3)
    captions = {"clip-0": ["a small red ball"] * 5, "clip-1": ["a ball in the snow", "a small red ball"]}
    values, valid = show(engine, watched, ["text"], captions)["text"]
    assert valid.sum(dim=1).tolist() == [5, 2]
    torch.testing.assert_close(values[1, :2], engine.encoder.encode_texts(captions["clip-1"]))
    assert not values[1, 2:].any()
