"""Recipes and `--set`: what is understood, and how the rest is answered."""

from __future__ import annotations

import pytest

from topa.core.errors import UsageError
from topa.training.config import AlignConfig, read_recipe, recipes

OWN = 'llm = "some/llm"\nencoder = "some/clip"\nepochs = 7\nfusion = "caption"\n'


def test_every_recipe_that_comes_along_can_be_read():
    assert "microworld" in recipes()
    assert all(isinstance(read_recipe(name), AlignConfig) for name in recipes())


def test_a_file_is_a_recipe(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    config = read_recipe(str(tmp_path / "own.toml"))
    assert (config.llm, config.epochs, config.fusion) == ("some/llm", 7, "caption")
    assert config.lr == AlignConfig.model_fields["lr"].default


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("epochs=2", "epochs", 2),
        ("lr=1e-4", "lr", 1e-4),
        (" batch_size = 8 ", "batch_size", 8),
        ("fusion=mean", "fusion", "mean"),
        ("adapted_layers=2", "adapted_layers", 2),
        ("projector_lr=0.5", "projector_lr", 0.5),
        ("llm=a=b", "llm", "a=b"),
        ("seed=-3", "seed", -3),
    ],
)
def test_settings_have_the_type_of_their_field(setting, key, value):
    found = getattr(read_recipe("microworld", [setting]), key)
    assert found == value
    assert type(found) is type(value)


def test_the_last_setting_wins_and_the_others_stay():
    config = read_recipe("microworld", ["epochs=2", "epochs=4"])
    assert config == read_recipe("microworld").model_copy(update={"epochs": 4})


def test_a_configuration_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        read_recipe("microworld").epochs = 3


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        ("mircoworld", [], "unknown recipe 'mircoworld'; did you mean 'microworld'?"),
        ("x", [], "unknown recipe 'x'. Known: .*microworld"),
        ("gone.toml", [], "gone.toml: no such recipe file. Known recipes: .*microworld"),
        ("microworld", ["epoch=3"], "unknown setting 'epoch'; did you mean 'epochs'?"),
        ("microworld", ["epochs"], "--set epochs: expected key=value, as in --set epochs=5"),
        ("microworld", ["epochs=many"], "microworld.toml: epochs: .*integer.*found 'many'"),
        ("microworld", ["epochs=0"], "epochs: .*greater than 0.*found '0'"),
        ("microworld", ["epochs=2.5"], "epochs: .*integer.*found '2.5'"),
        ("microworld", ["fusion=sum"], "fusion: .*'mean' or 'caption'.*found 'sum'"),
        ("microworld", ["lr=nan"], "lr: .*finite.*found 'nan'"),
        ("microworld", ["lr=inf"], "lr: .*finite.*found 'inf'"),
        ("microworld", ["adapted_layers=0"], "adapted_layers: .*greater than 0"),
        ("microworld", ["warmup=1"], "warmup: .*less than 1"),
        ("microworld", ["choose=0", "answer=0", "describe=0"], "choose . answer . describe must be more than 0. Mend"),
    ],
)
def test_what_is_not_understood_is_answered(recipe, settings, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")) as caught:
        read_recipe(recipe, settings)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"llm = \n", "not a TOML file .*line 1.*Expected lines of the form key = value"),
        (b"\xff\xfe\x00", "not a TOML file"),
        (b'encoder = "a"\n', "llm: Field required"),
        (OWN.encode() + b"learning_rate = 3\n", "unknown setting 'learning_rate'"),
        (OWN.encode() + b"[lr]\nstart = 3\n", "lr: .*number"),
    ],
)
def test_a_broken_recipe_file_is_named(tmp_path, text, words):
    (tmp_path / "own.toml").write_bytes(text)
    with pytest.raises(UsageError, match=words):
        read_recipe(str(tmp_path / "own.toml"))


def test_every_field_says_what_it_is():
    silent = [n for n, f in AlignConfig.model_fields.items() if not f.description]
    assert not silent
