"""Contexts joined: what is read apart goes on together as it would have gone on alone."""

from __future__ import annotations

import pytest
import torch

from topa.models.inputs import ModelInputs
from topa.models.kv_cache import KVCache

from . import tiny


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_rows_go_on_as_they_would_alone(family: str, side: str) -> None:
    model = tiny.model(family)
    first = model.prefill(ModelInputs(**tiny.padded(tiny.batch(), [0, 2, 5], side)))
    second = model.prefill(ModelInputs(**tiny.batch(rows=2, before=2, after=3)))
    third = model.prefill(ModelInputs(**tiny.batch(rows=1, after=25)))
    expected = [row for context in (first, second, third) for row in model.greedy(context, 6)]
    assert model.greedy(KVCache.join([first, second, third]), 6) == expected


def test_a_context_may_join_in_the_middle_and_leave() -> None:
    model = tiny.model("mistral")
    early, late = (
        model.prefill(ModelInputs(**tiny.batch())),
        model.prefill(ModelInputs(**tiny.batch(rows=2, before=3, after=2))),
    )
    expected = model.greedy(early, 5), model.greedy(late, 4)
    tokens = torch.tensor([row[:1] for row in expected[0]])
    joined = KVCache.join([model.prefill(ModelInputs(tokens), cache=early), late])
    found = model.greedy(joined, 4)
    assert found == [row[1:] for row in expected[0]] + expected[1]
    assert model.greedy(KVCache.join([joined.take([3, 1])]), 4) == [expected[1][0], expected[0][1][1:]]


def test_no_column_is_kept_that_nobody_reads() -> None:
    model = tiny.model()
    short, long = (
        model.prefill(ModelInputs(**tiny.batch(rows=2, after=2))),
        model.prefill(ModelInputs(**tiny.batch(rows=1, after=30))),
    )
    joined = KVCache.join([short, long])
    assert joined.visible.sum(dim=1).tolist() == [11, 11, 39]
    assert joined.visible.shape == joined.is_video.shape == (3, 39)
    assert joined.states.layers[0].keys.shape[2] == 39
    kept = KVCache.join([joined.take([0, 1])])
    assert kept.visible.all()
    assert kept.states.layers[0].keys.shape[2] == 11
    assert joined.states.layers[0].keys.shape[2] == 39  # a value: it stays as it was
    assert torch.equal(kept.is_video, short.is_video)


def test_padding_is_no_video() -> None:
    """Also where a row begins with frames, and padding is made of its first column."""
    model = tiny.model()
    inputs = tiny.padded(tiny.batch(rows=2, before=0, after=3), [1, 0], "right")
    joined = KVCache.join(
        [model.prefill(ModelInputs(**inputs)), model.prefill(ModelInputs(**tiny.batch(rows=1, after=30)))]
    )
    assert joined.is_video.sum(dim=1).tolist() == [tiny.FRAMES] * 3
    assert not (joined.is_video & ~joined.visible).any()
