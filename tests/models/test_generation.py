"""transformers' generate() with a video: the same tokens as without a cache, for every way to choose them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from topa.core.errors import UsageError
from topa.models.generation import generate
from topa.models.inputs import ModelInputs

from . import tiny

every_family = pytest.mark.parametrize("family", tiny.FAMILIES)
some_families = pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "mistral", "phi3"])


@pytest.mark.parametrize("side", ["left", "right"])
@every_family
def test_greedy_is_our_greedy(family: str, side: str) -> None:
    model = tiny.model(family)
    inputs = tiny.padded(tiny.batch(), [0, 2, 5], side)
    expected = model.greedy(model.prefill(ModelInputs(**inputs)), 6)
    found = generate(
        model, ModelInputs(**inputs), max_new_tokens=6, min_new_tokens=6, do_sample=False, suppress_tokens=[]
    )
    ends = model.llm.generation_config.eos_token_id
    for row, wanted in zip(found.tolist(), expected, strict=True):
        if ends not in wanted:  # min_new_tokens forbids the end; ours was told of none
            assert row == wanted
    assert any(ends not in row for row in expected)


@some_families
def test_beams_are_those_of_an_exhaustive_search(family: str) -> None:
    """As many beams as there are words: after two tokens the best pair of all is found."""
    model, inputs = tiny.model(family), tiny.padded(tiny.batch(), [3, 0, 1], "right")
    found = generate(
        model,
        ModelInputs(**inputs),
        max_new_tokens=2,
        num_beams=tiny.VOCABULARY,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    for row, width in enumerate([3, 0, 1]):
        one = {name: value[row : row + 1] for name, value in tiny.batch().items()}
        length = one["input_ids"].shape[1] - width
        ids, is_slot = one["input_ids"][:, :length], functional.pad(one["is_slot"][:, :length], (0, 1))
        with torch.no_grad():
            first = model(ModelInputs(ids, frames=one["frames"], is_slot=is_slot[:, :-1]))[0, -1].log_softmax(-1)
            every = torch.arange(tiny.VOCABULARY)
            longer = torch.cat([ids.expand(tiny.VOCABULARY, -1), every[:, None]], dim=1)
            frames = one["frames"].expand(tiny.VOCABULARY, -1, -1)
            second = model(ModelInputs(longer, frames=frames, is_slot=is_slot.expand(tiny.VOCABULARY, -1)))[
                :, -1
            ].log_softmax(-1)
        best = (first[:, None] + second).argmax().item()
        assert found[row].tolist() == [best // tiny.VOCABULARY, best % tiny.VOCABULARY]


def test_samples_differ_and_follow_their_seed() -> None:
    model, inputs = tiny.model(), tiny.batch()

    def sample(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return generate(
            model,
            ModelInputs(**inputs),
            max_new_tokens=5,
            do_sample=True,
            num_return_sequences=3,
            temperature=1.5,
            pad_token_id=0,
        ).tolist()

    assert sample(1) == sample(1) != sample(2)
    assert len(sample(1)) == 9
    assert len({tuple(row) for row in sample(1)}) > 3


@pytest.mark.parametrize("cache", ["static", "dynamic"])
def test_a_cache_of_fixed_size_gives_the_same(cache: str) -> None:
    model, inputs = tiny.model(), tiny.batch()
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    found = generate(model, ModelInputs(**inputs), cache_implementation=cache, disable_compile=True, **options)
    assert found.tolist() == model.greedy(model.prefill(ModelInputs(**inputs)), 6)
    without = generate(model, ModelInputs(**inputs), use_cache=False, **options)
    assert without.tolist() == found.tolist()


def test_the_video_matters_and_nothing_stays_behind() -> None:
    model, inputs = tiny.model(), tiny.batch()
    options = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    first = generate(model, ModelInputs(**inputs), **options).logits[0]
    turned = generate(model, ModelInputs(**inputs | {"frames": -inputs["frames"]}), **options).logits[0]
    assert not torch.allclose(first, turned, atol=1e-3)
    torch.testing.assert_close(first, model.prefill(ModelInputs(**inputs)).next_logits)
    assert not model.llm._forward_pre_hooks
    text = inputs["input_ids"]
    torch.testing.assert_close(
        generate(model, ModelInputs(text), **options).logits[0], model.prefill(ModelInputs(text)).next_logits
    )
    model.llm.set_attn_implementation("sdpa")
    with pytest.raises(UsageError, match="found attention implementation"):
        generate(model, ModelInputs(**inputs))
