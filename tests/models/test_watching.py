"""Attention that is taken down for explanations, against stock eager attention of the same language models."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from topa.models.attention import IMPLEMENTATION
from topa.models.inputs import ModelInputs

from . import tiny

COLUMNS = torch.tensor([12, 15, 17])
FULL, SLIDING = "full_attention", "sliding_attention"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def biased(family: str, tokens_per_frame: int = 1):
    """A model whose layers all have one video bias per head, so that one mask can tell it to stock attention; its
    gates are closed, as stock attention knows no prompts."""
    model = tiny.model(family, opened=False, tokens_per_frame=tokens_per_frame)
    bias = torch.tensor([-3.0, 1.5, 0.0, 2.5])
    with torch.no_grad():
        for layer in model.prompts:
            layer.video_bias.copy_(bias)
    return model, bias


def stock(model, inputs: dict[str, Tensor], valid: Tensor, bias: Tensor, columns: Tensor) -> Tensor:
    """What `columns` give to each token, [layers, h, N, K], by transformers' own eager attention."""
    llm = model.llm
    embedded = model.embed(ModelInputs(inputs["input_ids"], inputs["frames"], valid, inputs["is_slot"]))
    is_video, visible = embedded.is_video, embedded.visible
    size = visible.shape[1]
    place = (visible.cumsum(dim=1) - 1).clamp(min=0)
    after = (is_video.cumsum(dim=1) > 0) & ~inputs["is_slot"]
    allowed = torch.ones(size, size, dtype=torch.bool).tril() & visible[0]
    added = bias[:, None, None] * (after[0][:, None] & is_video[0])
    config = llm.config.get_text_config()
    window = getattr(config, "sliding_window", None) or math.inf
    near = place[0][:, None] - place[0] < window

    def mask(seen: Tensor) -> Tensor:
        return added.masked_fill(~seen, torch.finfo(torch.float32).min)[None]

    full, sliding = mask(allowed), mask(allowed & near)
    mixed = set(getattr(config, "layer_types", None) or ()) == {FULL, SLIDING}
    given = {FULL: full, SLIDING: sliding} if mixed else sliding
    llm.set_attn_implementation("eager")
    with torch.no_grad():
        out = llm(inputs_embeds=embedded.values, attention_mask=given, position_ids=place, output_attentions=True)
    llm.set_attn_implementation(IMPLEMENTATION)
    return torch.stack(out.attentions)[:, 0, :, columns]


@pytest.mark.parametrize("missing", [(), (1,), (0, 4)])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_it_is_what_eager_attention_gives(family: str, missing: tuple[int, ...]) -> None:
    model, bias = biased(family)
    inputs = tiny.batch(rows=1)
    valid = torch.ones(1, tiny.FRAMES, dtype=torch.bool)
    valid[:, list(missing)] = False
    found = model.attention_to_frames(
        ModelInputs(inputs["input_ids"], frames=inputs["frames"], frame_valid=valid, is_slot=inputs["is_slot"]), COLUMNS
    )
    expected = stock(model, inputs, valid, bias, COLUMNS)[..., inputs["is_slot"][0]]
    assert found.shape == (3, 4, 3, tiny.FRAMES)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert bool((found[..., list(missing)] == 0).all())
    assert found.sum(dim=-1).max() > 0.05


def test_tokens_of_a_frame_are_added_up_and_the_bias_counts() -> None:
    inputs = tiny.batch(rows=1, tokens_per_frame=2)
    valid = torch.ones(1, tiny.FRAMES, dtype=torch.bool)
    columns = torch.tensor([20, 22])
    model, bias = biased("llama", 2)
    told = {"frames": inputs["frames"], "frame_valid": valid, "is_slot": inputs["is_slot"]}
    found = model.attention_to_frames(ModelInputs(inputs["input_ids"], **told), columns)
    expected = stock(model, inputs, valid, bias, columns)[..., inputs["is_slot"][0]]
    torch.testing.assert_close(found, expected[..., ::2] + expected[..., 1::2], atol=2e-5, rtol=1e-4)
    with torch.no_grad():
        for layer in model.prompts:
            layer.video_bias.fill_(-30.0)
    assert model.attention_to_frames(ModelInputs(inputs["input_ids"], **told), columns).max() < 1e-6


def test_frames_without_a_slot_get_nothing_and_answers_stay_the_same() -> None:
    model, inputs = tiny.model(), tiny.batch(rows=1)
    before = model(ModelInputs(**inputs))
    short = torch.arange(tiny.FRAMES) < 3
    is_slot = inputs["is_slot"] & (inputs["is_slot"].cumsum(dim=1) <= 3)
    found = model.attention_to_frames(
        ModelInputs(inputs["input_ids"], frames=inputs["frames"], frame_valid=short[None], is_slot=is_slot), COLUMNS
    )
    assert found.shape[-1] == tiny.FRAMES
    assert bool((found[..., 3:] == 0).all())
    assert bool((found[..., :3] > 0).any())
    assert torch.equal(model(ModelInputs(**inputs)), before)
