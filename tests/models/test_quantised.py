"""A frozen language model in 8 or 4 bits goes through unchanged: really quantised, by bitsandbytes, on a CPU too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from torch import nn

from topa.core.errors import UsageError
from topa.models import VideoLanguageModel
from topa.models.base import identity, load_llm, same
from topa.models.inputs import ModelInputs

from . import backbones, tiny

SIZES = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llm")
    tiny.llm(**SIZES).save_pretrained(path)
    return path


@pytest.mark.parametrize(("bits", "kind", "error"), [(8, Linear8bitLt, 0.1), (4, Linear4bit, 0.5)])
@pytest.mark.parametrize("rank", [None, 2])
def test_it_answers_nearly_the_same_and_trains(
    folder: Path, bits: int, kind: type[nn.Module], error: float, rank: int | None
) -> None:
    quantised, whole = load_llm("it", str(folder), bits=bits), tiny.llm(**SIZES)
    assert isinstance(quantised.model.layers[0].mlp.up_proj, kind)
    assert same(identity(quantised), identity(whole))
    models = []
    for llm in (quantised, whole):
        torch.manual_seed(2)
        model = VideoLanguageModel(llm, tiny.FEATURES, frames=tiny.FRAMES, prompt_length=4, lora_rank=rank)
        for name, parameter in model.named_trainable().items():
            if name.endswith("gate"):
                torch.nn.init.constant_(parameter, 0.5)
        models.append(model)
    inputs = tiny.batch()
    found, expected = (model(ModelInputs(**inputs)).log_softmax(-1) for model in models)
    assert found.isfinite().all()
    assert (found - expected).abs().mean() < error
    assert (found - expected).abs().mean() > 1e-4  # it isn't the whole one
    found[:, -3:, 5].sum().backward()
    model = models[0]
    trained = [name for name, p in model.named_trainable().items() if p.grad is not None and p.grad.isfinite().all()]
    assert len(trained) == len(model.named_trainable())
    with torch.no_grad():
        context = model.prefill(ModelInputs(**inputs))
        assert (context.next_logits - model(ModelInputs(**inputs))[:, -1]).abs().max() < error
    assert [len(row) for row in model.greedy(context, 3)] == [3, 3, 3]


def test_without_bitsandbytes_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UsageError, match=r"pip install .*\[quantised\]'"):
        load_llm("it", str(folder), bits=4)


def test_other_bits_and_other_formats_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found bits=3, expected 8 or 4"):
        load_llm("it", str(folder), bits=3)
    meta = backbones.meta_folder(tmp_path / "7B", backbones.llama(61))
    with pytest.raises(UsageError, match="in Hugging Face's format"):
        load_llm("it", str(meta), bits=8)
