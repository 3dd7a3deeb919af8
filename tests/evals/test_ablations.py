"""What each baseline takes away from a video, and what it leaves."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from topa import Topa
from topa.core.embedded import resolve
from topa.evals.ablations import VIEWS, ablate, baselines
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
    made = ablate(engine, watched, list(VIEWS))
    for clip, features in watched.items():
        whole, count = made[MODEL][clip], len(features)
        torch.testing.assert_close(
            whole.values, engine.memory.project(features, engine.config.temperature).features.values
        )
        assert whole.valid.tolist() == [True] * count
        blind, single = made["blind"][clip], made["single_frame"][clip]
        assert not blind.values.any()
        assert torch.equal(blind.valid, whole.valid)
        assert single.valid.tolist() == [True] + [False] * (count - 1)
        assert torch.equal(single.values[0], whole.values[(count - 1) // 2])
        assert torch.equal(made["no_projection"][clip].values, features.values)


def test_shuffled_frames_are_another_order_whatever_else_is_shown(engine):
    watched = images(engine, 5, 3)
    made = ablate(engine, watched, [MODEL, "shuffled_frames"])
    for clip, features in watched.items():
        right, shuffled = made[MODEL][clip].values, made["shuffled_frames"][clip]
        assert shuffled.valid.all()
        order = [right.tolist().index(frame) for frame in shuffled.values.tolist()]
        assert order != sorted(order)
        assert sorted(order) == list(range(len(features)))
    alone = ablate(engine, {"clip-1": watched["clip-1"]}, ["shuffled_frames"])["shuffled_frames"]["clip-1"]
    torch.testing.assert_close(alone.values, made["shuffled_frames"]["clip-1"].values)


def test_a_model_without_a_memory_has_no_projection_to_leave_out(engine, monkeypatch):
    assert baselines(engine) == ("blind", "shuffled_frames", "single_frame", "no_projection")
    monkeypatch.setattr(engine, "memory", None)
    assert baselines(engine) == ("blind", "shuffled_frames", "single_frame")


def test_centred_images_are_as_far_from_nothing_as_the_memory(engine):
    features = images(engine, 5, 3)
    inputs = ablate(engine, features, ["centred"])["centred"]
    rows = torch.cat([own.values for own in features.values()])
    moved = functional.normalize(rows + engine.memory.values.float().mean(0) - rows.mean(0), dim=-1)
    torch.testing.assert_close(torch.cat([own.values[own.valid] for own in inputs.values()]), moved)


def test_captions_are_read_in_place_of_frames(engine):
    captions = {"clip-0": ["a small red ball"] * 5, "clip-1": ["a ball in the snow", "a small red ball"]}
    inputs = ablate(engine, images(engine, 5, 3), ["text"], captions)["text"]
    assert [own.frames for own in inputs.values()] == [5, 2]
    torch.testing.assert_close(inputs["clip-1"].values, engine.encoder.encode_texts(captions["clip-1"]))
