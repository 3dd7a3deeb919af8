"""The micro CLIP's recipe: the pixels it trains on are the pixels a user's frames become."""

from __future__ import annotations

import random
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, CLIPTokenizer

from topa.microworld import language, train_clip
from topa.microworld.render import render_scene
from topa.microworld.world import Scene


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_clip.make_tokenizer()


def test_pixels_are_what_the_saved_processor_gives(tmp_path: Path) -> None:
    train_clip.make_processor().save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    rng = random.Random(0)
    images = [render_scene(train_clip.draw_scene(rng), rng) for _ in range(6)]
    expected = torch.as_tensor(np.stack(processor(images=images)["pixel_values"]))
    values = train_clip.pixels(images)
    assert values.shape == (6, 3, train_clip.PIXELS, train_clip.PIXELS)
    torch.testing.assert_close(values, expected.float(), atol=1e-5, rtol=0)
    assert -1 <= values.min() < -0.5 < 0.5 < values.max() <= 1


def test_hard_negatives_differ_in_one_aspect() -> None:
    rng = random.Random(0)
    for _ in range(300):
        scene = train_clip.draw_scene(rng)
        other = train_clip.change_one(scene, rng)
        assert sum(a != b for a, b in zip(astuple(scene), astuple(other), strict=True)) == 1
    batch = train_clip.draw_batch(64, 4, rng)
    assert len(set(batch)) == 64
    near = sum(
        any(sum(a != b for a, b in zip(astuple(s), astuple(o), strict=True)) == 1 for o in batch if o is not s)
        for s in batch
    )
    assert near > 50
    assert train_clip.with_value(scene, 2, "large") == Scene(
        scene.kind, scene.colour, "large", scene.position, scene.place
    )


def test_the_tokenizer_keeps_words_whole_and_apart(tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(7)
    for _ in range(200):
        text = language.caption(train_clip.draw_scene(rng), rng)
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == len(text.split()) + 2 <= train_clip.TOKENS
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")
    assert tokenizer.eos_token_id != 2  # 2 makes CLIPTextModel fall back to the largest id
    assert tokenizer("ELEPHANT")["input_ids"] == tokenizer("elephant")["input_ids"]
    assert len(tokenizer("zebra")["input_ids"]) > 2  # unknown words are spelled, never dropped


def test_the_logit_scale_is_fixed_at_100(tokenizer: CLIPTokenizer) -> None:
    model = train_clip.build(tokenizer, width=16, layers=1, patch=32, dim=8)
    assert model.logit_scale.exp().item() == pytest.approx(100)
    assert not model.logit_scale.requires_grad
    assert all(p.requires_grad for n, p in model.named_parameters() if n != "logit_scale")


def test_features_are_unit_rows_of_the_whole_text(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    model = train_clip.build(tokenizer, width=16, layers=1, patch=32, dim=8).eval()
    texts = ["a red ball", "a red ball is on the left in the meadow", "a red box"]
    with torch.no_grad():
        rows = train_clip.encode_texts(model, tokenizer, texts)
        alone = torch.cat([train_clip.encode_texts(model, tokenizer, [t]) for t in texts])
    torch.testing.assert_close(rows, alone, atol=1e-5, rtol=0)  # padding changes nothing
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3))
    assert (rows[0] - rows[2]).norm() > 1e-3


def test_training_ends_in_a_folder_that_loads_and_equal_seeds_give_equal_weights(
    tmp_path: Path, tokenizer: CLIPTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_clip, "make_tokenizer", lambda: tokenizer)
    monkeypatch.setattr(train_clip, "examine", lambda *_: {})
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_clip.train(tmp_path / name, steps=2, seed=seed, width=16, layers=1, patch=32, dim=8, batch=8)
    models = {n: CLIPModel.from_pretrained(tmp_path / n).state_dict() for n in "abc"}
    assert all(torch.equal(value, models["b"][key]) for key, value in models["a"].items())
    assert not torch.equal(models["a"]["text_projection.weight"], models["c"]["text_projection.weight"])
    assert models["a"]["logit_scale"].exp().item() == pytest.approx(100)
    saved = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert saved("a red ball")["input_ids"] == tokenizer("a red ball")["input_ids"]
    assert AutoImageProcessor.from_pretrained(tmp_path / "a").size["shortest_edge"] == train_clip.PIXELS
