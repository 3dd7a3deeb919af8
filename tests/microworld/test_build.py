"""Packing: half precision, ordinary folders, a card with the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForCausalLM, AutoTokenizer, CLIPModel, PreTrainedTokenizerFast

from topa.microworld import build, train_clip, train_llm

TESTS = {"sentences": {"choice": {"mean": 0.987}}}


def test_packing_the_llm(tmp_path: Path, words: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_llm, "card_tests", lambda *_: TESTS)
    trained, out = tmp_path / "trained", tmp_path / "out"
    model = train_llm.build(32, 1, 2, words)
    model.save_pretrained(trained)
    words.save_pretrained(trained)
    out.mkdir()
    assert build.pack_llm(trained, out, 71.4) == TESTS
    packed = AutoModelForCausalLM.from_pretrained(out)
    assert packed.dtype == torch.float16
    for name, value in model.state_dict().items():
        torch.testing.assert_close(packed.state_dict()[name].float(), value, atol=1e-2, rtol=1e-3)
    assert AutoTokenizer.from_pretrained(out)("red ball")["input_ids"] == words("red ball")["input_ids"]
    card = (out / "README.md").read_text()
    for text in ("# The micro LLM", "topa.microworld.train_llm", "71 minutes", "0.987", "half precision"):
        assert text in card


def test_packing_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_clip, "examine", lambda *_, **__: {"gap": 0.321})
    trained, out = tmp_path / "trained", tmp_path / "out"
    tokenizer = train_clip.make_tokenizer()
    train_clip.build(tokenizer, width=16, layers=1, patch=32, dim=8).save_pretrained(trained)
    tokenizer.save_pretrained(trained)
    train_clip.make_processor().save_pretrained(trained)
    out.mkdir()
    assert build.pack_clip(trained, out, None) == {"gap": 0.321}
    assert CLIPModel.from_pretrained(out).dtype == torch.float16
    assert AutoImageProcessor.from_pretrained(out).size["shortest_edge"] == train_clip.PIXELS
    card = (out / "README.md").read_text()
    assert "0.321" in card
    assert "Training time" not in card
