"""The last layer computes the wanted positions only, and gives what it gave before."""

from __future__ import annotations

import pytest
import torch

from topa.models import VideoLanguageModel
from topa.models.inputs import ModelInputs

from . import tiny

CLOSE = {"atol": 3e-5, "rtol": 1e-5}


@pytest.mark.parametrize("adapter", ["prompts", "lora"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_few_positions_have_the_logits_and_gradients_of_all(family: str, adapter: str) -> None:
    inputs, positions = tiny.batch(), (torch.tensor([2, 0, 1, 1]), torch.tensor([3, 17, 9, 16]))

    def fresh() -> VideoLanguageModel:
        if adapter == "prompts":
            return tiny.model(family)
        torch.manual_seed(2)
        made = VideoLanguageModel(tiny.llm(family), tiny.FEATURES, frames=tiny.FRAMES, lora_rank=2)
        for name, parameter in made.named_trainable().items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        return made

    narrow, whole = fresh(), fresh()
    few, expected = narrow(ModelInputs(**inputs), positions=positions), whole(ModelInputs(**inputs))[positions]
    torch.testing.assert_close(few, expected, **CLOSE)
    few.log_softmax(-1)[:, 5].sum().backward()
    expected.log_softmax(-1)[:, 5].sum().backward()
    for name, parameter in narrow.named_trainable().items():
        torch.testing.assert_close(parameter.grad, whole.named_trainable()[name].grad, **CLOSE)
    # Nothing stays behind: the next pass computes everything.
    with torch.no_grad():
        torch.testing.assert_close(narrow(ModelInputs(**inputs)), whole(ModelInputs(**inputs)), **CLOSE)


def test_the_wanted_positions_are_the_only_ones_computed() -> None:
    model, inputs = tiny.model(), tiny.batch()
    seen: dict[int, tuple[int, ...]] = {}
    for index, layer in enumerate(model.llm.model.layers):
        layer.mlp.up_proj.register_forward_pre_hook(
            lambda _, args, index=index: seen.update({index: tuple(args[0].shape[:2])})
        )
    size = tuple(inputs["input_ids"].shape)
    with torch.no_grad():
        model(ModelInputs(**inputs), positions=(torch.tensor([0, 2]), torch.tensor([4, 9])))
        assert seen == {0: size, 1: size, 2: (1, 2)}
        every = torch.ones(size).nonzero(as_tuple=True)
        model(ModelInputs(**inputs), positions=every)  # picking most of them would cost more than it saves
        assert seen == {0: size, 1: size, 2: size}


def test_a_part_that_is_called_alone_is_as_ever() -> None:
    model, inputs = tiny.model(), tiny.batch()
    hidden = torch.randn(2, 7, tiny.WIDTH)
    last = model.llm.model.layers[-1]
    with torch.no_grad():
        expected = [last.self_attn.q_proj(hidden), last.self_attn.o_proj(hidden), last.mlp(hidden)]
        model(ModelInputs(**inputs), positions=(torch.tensor([0]), torch.tensor([4])))
        found = [last.self_attn.q_proj(hidden), last.self_attn.o_proj(hidden), last.mlp(hidden)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_an_error_in_the_layer_leaves_nothing_behind() -> None:
    model, inputs = tiny.model(), tiny.batch()
    with torch.no_grad():
        expected = model(ModelInputs(**inputs))
        handle = model.llm.model.layers[-1].mlp.act_fn.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(ModelInputs(**inputs), positions=(torch.tensor([0]), torch.tensor([4])))
        handle.remove()
        torch.testing.assert_close(model(ModelInputs(**inputs)), expected)
