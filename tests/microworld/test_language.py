"""Captions are decoded back into scenes, descriptions are replayed: nothing of a scene may be lost in words."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from topa.microworld import language
from topa.microworld.world import COLOURS, KINDS, PLACES, POSITIONS, SIZES, Scene, write_story

SCENES = [Scene(*values) for values in itertools.product(KINDS, COLOURS, SIZES, POSITIONS, PLACES)]
TABLES: dict[str, dict[Any, tuple[str, ...]]] = {
    "kind": language.KIND_WORDS,
    "colour": language.COLOUR_WORDS,
    "size": language.SIZE_WORDS,
    "position": language.POSITION_PHRASES,
    "place": language.PLACE_PHRASES,
}


def values_in(text: str, table: dict[Any, tuple[str, ...]]) -> set[str]:
    """The values of a table whose words or phrases a text has."""
    return {value for value, phrases in table.items() for phrase in phrases if f" {phrase} " in f" {text} "}


def decode(text: str) -> Scene:
    aspects = {name: values_in(text, table) for name, table in TABLES.items()}
    assert all(len(values) == 1 for values in aspects.values()), f"{text!r} says {aspects}"
    return Scene(**{name: values.pop() for name, values in aspects.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", language.SENTENCES)
def test_every_form_of_caption_names_every_aspect(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "SENTENCES", (form,))
    rng = random.Random(form)
    for scene in SCENES:
        assert decode(language.caption(scene, rng)) == scene


def test_captions_use_every_form_and_every_synonym() -> None:
    rng = random.Random(1)
    captions = [language.caption(scene, rng) for scene in SCENES]
    everything = "\n".join(f" {text} " for text in captions)
    for table in TABLES.values():
        for phrase in itertools.chain(*table.values()):
            assert f" {phrase} " in everything
    forms = {
        "we see" if t.startswith("we see") else "there is" if " there is " in t else "that" if " that " in t else "a"
        for t in captions
    }
    assert len(forms) == len(language.SENTENCES)


def test_no_word_stands_for_two_values() -> None:
    for table in TABLES.values():
        phrases = list(itertools.chain(*table.values()))
        assert len(phrases) == len(set(phrases))


def test_words_without_content_are_those_that_every_value_shares() -> None:
    """What is left of a caption without the function words still tells the scene's kind, colour and size."""
    rng = random.Random(2)
    for scene in SCENES[::7]:
        words = [w for w in language.caption(scene, rng).split() if w not in language.FUNCTION_WORDS]
        for name in ("kind", "colour", "size"):
            assert values_in(" ".join(words), TABLES[name]) >= {getattr(scene, name)}
        assert 5 <= len(words) <= 8


def test_object_captions_name_the_toy_and_the_place() -> None:
    rng = random.Random(3)
    for scene in SCENES[::5]:
        toy, detail = language.object_captions(scene, rng)
        for name in ("kind", "colour", "size"):
            assert values_in(toy, TABLES[name]) == {getattr(scene, name)}
        assert detail in language.PLACE_DETAILS[scene.place]


def replay(description: str) -> list[Scene]:
    """The scenes that a description tells, by doing what each sentence says."""
    first, *sentences = [s.strip() for s in description.split(" .") if s.strip()]
    scenes = [decode(first)]
    for sentence in sentences:
        now = scenes[-1]
        match sentence.split():
            case ["it", "gives", "way", "to", "a", colour, kind]:
                now = replace(now, colour=colour, kind=kind)
            case ["it", "turns", colour]:
                now = replace(now, colour=colour)
            case ["it", "grows"]:
                assert now.size == "small"
                now = replace(now, size="large")
            case ["it", "shrinks"]:
                assert now.size == "large"
                now = replace(now, size="small")
            case ["it", "moves", "to", "the", position]:
                now = replace(now, position=position)
            case ["it", "goes", "to", "the", place]:
                now = replace(now, place=place)
            case _:
                pytest.fail(f"not a sentence of the micro world: {sentence!r}")
        scenes.append(now)
    return scenes


def test_a_description_tells_the_whole_story() -> None:
    for seed in range(1500):
        story = write_story(random.Random(seed))
        assert replay(language.description(story)) == list(story.scenes)


def test_equal_seeds_give_equal_words() -> None:
    for tell in (language.caption, language.object_captions):
        first, second, other = (
            [tell(s, rng) for s in SCENES[:200]] for rng in (random.Random(5), random.Random(5), random.Random(6))
        )
        assert first == second != other
