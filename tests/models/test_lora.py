"""LoRA instead of prompts: the same model, training and files around it."""

from __future__ import annotations

import sys

import pytest
import torch

from topa.core.errors import ArtifactMismatch, UsageError
from topa.models import VideoLanguageModel
from topa.models.inputs import ModelInputs

from . import tiny

every_family = pytest.mark.parametrize("family", tiny.FAMILIES)


def lora(family: str = "llama", rank: int = 2, adapted_layers: int | None = None) -> VideoLanguageModel:
    torch.manual_seed(1)
    return VideoLanguageModel(
        tiny.llm(family), tiny.FEATURES, frames=tiny.FRAMES, lora_rank=rank, adapted_layers=adapted_layers
    )


def step(model: VideoLanguageModel) -> None:
    """Two steps: LoRA's first matrix has no gradient while the second is zero."""
    optimizer = torch.optim.SGD(list(model.trainable_parameters()), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(ModelInputs(**tiny.batch()))[:, -4:].log_softmax(-1)[..., 5].sum().neg().backward()
        optimizer.step()


@every_family
def test_untrained_it_is_the_frozen_llm_and_everything_learns(family: str) -> None:
    model, frozen, ids = lora(family), tiny.llm(family), tiny.batch()["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(model(ModelInputs(ids)), frozen(ids).logits, atol=1e-6, rtol=0)
    before = {name: value.clone() for name, value in model.adapter_state_dict().items()}
    step(model)
    for name, value in model.adapter_state_dict().items():
        assert not torch.equal(value, before[name]), name
        assert value.dtype == torch.float32
    kept, now = dict(frozen.named_parameters()), dict(model.llm.named_parameters())
    same = [torch.equal(p, now[name if name in now else name.replace(".weight", ".base_layer.weight").replace(
        ".bias", ".base_layer.bias")]) for name, p in kept.items()]  # fmt: skip
    assert all(same)
    with torch.no_grad():
        context = model.prefill(ModelInputs(**tiny.batch()))
        torch.testing.assert_close(context.next_logits, model(ModelInputs(**tiny.batch()))[:, -1], atol=3e-5, rtol=1e-5)


def test_only_the_adapted_layers_and_not_the_head_have_updates() -> None:
    names = {n for n in lora(adapted_layers=1).named_trainable() if n.startswith("lora.")}
    assert names
    assert all(".layers.2." in name for name in names)
    report = lora(rank=3, adapted_layers=1).parameter_report()
    width, groups, hidden = 32, 16, 48
    sizes = [(width, width), (width, groups), (width, groups), (width, width)] + [(width, hidden)] * 3
    assert report.trainable["lora"] == 3 * sum(a + b for a, b in sizes)
    assert "prompt" not in report.trainable
    assert report.frozen == sum(p.numel() for p in tiny.llm().parameters())


def test_a_trained_one_is_saved_and_loaded_strictly() -> None:
    model, inputs = lora(), tiny.batch()
    step(model)
    again = lora()
    again.load_adapter_state_dict(model.adapter_state_dict())
    with torch.no_grad():
        assert torch.equal(again(ModelInputs(**inputs)), model(ModelInputs(**inputs)))
    with pytest.raises(ArtifactMismatch, match=r"lora_A.default.weight is \(2, 32\), expected \(4, 32\)"):
        lora(rank=4).load_adapter_state_dict(model.adapter_state_dict())
    with pytest.raises(ArtifactMismatch, match="is unexpected"):
        tiny.model().load_adapter_state_dict(model.adapter_state_dict())


def test_a_model_that_has_updates_already_is_refused() -> None:
    model = lora()
    with pytest.raises(UsageError, match="LoRA in this language model already"):
        VideoLanguageModel(model.llm, tiny.FEATURES, lora_rank=2)


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"pip install .*\[lora\]'"):
        lora()
