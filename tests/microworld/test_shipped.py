"""The shipped micro models: they load like any others, are small, and can do what their cards say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from topa.core.embedded import resolve
from topa.microworld import language
from topa.microworld.render import render_scene
from topa.microworld.train_clip import FIELDS, VALUES, draw_scene, with_value
from topa.microworld.train_llm import CachedTokenizer, choices
from topa.microworld.words import vocabulary

HARD_NEGATIVES = 0.95
STILLS = 200
CHOICE_MEAN = 0.9
STORIES = 60
MEGABYTES = 12
CLIP, LLM = Path(resolve("microworld/clip")), Path(resolve("microworld/llm"))


def test_they_are_small() -> None:
    files = [f for folder in (CLIP, LLM) for f in folder.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < MEGABYTES * 1e6
    assert not [f for f in files if f.suffix in (".bin", ".pt", ".pth", ".pkl")]


@pytest.mark.parametrize(("folder", "recipe"), [(CLIP, "train_clip"), (LLM, "train_llm")])
def test_their_cards_tell_training_and_tests(folder: Path, recipe: str) -> None:
    card = (folder / "README.md").read_text()
    assert f"python -m topa.microworld.{recipe}" in card
    assert "## Tests" in card
    assert "```json" in card


@torch.no_grad()
def test_the_clip_sees_every_aspect() -> None:
    """The right caption against the same one with an aspect changed to each other value, on stills never seen."""
    model = AutoModel.from_pretrained(CLIP, dtype=torch.float32).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(CLIP), AutoImageProcessor.from_pretrained(CLIP)
    rng = random.Random("shipped clip")
    scenes = [draw_scene(rng) for _ in range(STILLS)]
    pixels = processor(images=[render_scene(s, rng) for s in scenes], return_tensors="pt")
    images = functional.normalize(model.get_image_features(**pixels).pooler_output, dim=-1)
    for field, (name, values) in enumerate(zip(FIELDS, VALUES, strict=True)):
        captions = [language.caption(with_value(s, field, v), rng) for s in scenes for v in values]
        texts = model.get_text_features(**tokenizer(captions, padding=True, return_tensors="pt")).pooler_output
        scores = torch.einsum("nd,nvd->nv", images, functional.normalize(texts, dim=-1).view(STILLS, len(values), -1))
        hits = [values[i] == getattr(s, name) for s, i in zip(scenes, scores.argmax(-1).tolist(), strict=True)]
        assert sum(hits) / STILLS >= HARD_NEGATIVES, name


def test_the_llm_understands_words() -> None:
    model = AutoModelForCausalLM.from_pretrained(LLM, dtype=torch.float32).eval()
    assert isinstance(model, LlamaForCausalLM)
    accuracy = choices(model, CachedTokenizer(AutoTokenizer.from_pretrained(LLM)), "sentences", STORIES, seed=5)
    assert sum(accuracy.values()) / len(accuracy) >= CHOICE_MEAN, accuracy


def test_the_llm_has_the_vocabulary_of_the_code() -> None:
    """A word added to the grammar shifts every id behind it: then the micro LLM has to be built again."""
    vocab = AutoTokenizer.from_pretrained(LLM).get_vocab()
    assert sorted(vocab, key=vocab.__getitem__) == vocabulary()
