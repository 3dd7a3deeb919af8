"""The recipes that come along: the paper's values, and what a dry run tells of them."""

from __future__ import annotations

import pytest

from topa.models.topa_model import trainable_count
from topa.training.config import read_recipe, recipes

PAPER = {
    # recipe: base rate, samples of a step, and the rate that the paper's rule gives
    "llama2-7b": (5e-3, 288, 5.625e-3),
    "llama2-13b": (8e-3, 128, 4.0e-3),
    "llama3-8b": (5e-3, 448, 8.75e-3),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_recipes_have_the_papers_values(name):
    base, batch, rate = PAPER[name]
    config = read_recipe(name)
    assert config.lr == pytest.approx(base * batch / 256) == rate
    assert config.batch_size == batch
    assert (config.epochs, config.warmup * config.epochs) == (20, 1)
    assert (config.weight_decay, config.decay, config.clip, config.noise) == (0.1, "all", 0.0, 0.0)
    assert (config.choose, config.answer, config.describe) == (0.5, 0.25, 0.25)
    assert (config.frames, config.tokens_per_frame, config.prompt_length, config.adapted_layers) == (10, 1, 50, None)
    assert (config.max_tokens, config.video_bias, config.init_std, config.warm_start) == (150, 3.5, 1.0, 0.0)
    assert (config.fusion, config.temperature, config.protocol) == ("mean", 0.01, "selection")
    assert config.encoder == "openai/clip-vit-large-patch14"


def test_what_comes_along():
    assert set(recipes()) == {*PAPER, "microworld", "qwen3-0.6b"}
    assert trainable_count(4096, 32, 32) == 9_742_336
