"""The micro world's language: captions of scenes and descriptions of stories.

A small natural grammar with synonyms. A scene has several hundred possible captions, and each of them names every
aspect, so that a caption fully describes its frame.
"""

from __future__ import annotations

import itertools
import random

from .world import Colour, Kind, Place, Position, Scene, Size, Story

KIND_WORDS: dict[Kind, tuple[str, ...]] = {
    "ball": ("ball",),
    "box": ("box", "crate"),
    "star": ("star",),
    "ring": ("ring", "hoop"),
    "car": ("car", "auto"),
    "fish": ("fish",),
    "boat": ("boat", "ship"),
    "tree": ("tree",),
}
COLOUR_WORDS: dict[Colour, tuple[str, ...]] = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "yellow": ("yellow",),
    "purple": ("purple", "violet"),
    "white": ("white",),
}
SIZE_WORDS: dict[Size, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "large": ("large", "big", "huge"),
}
POSITION_PHRASES: dict[Position, tuple[str, ...]] = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top", "high up"),
    "bottom": ("at the bottom", "low down"),
    "middle": ("in the middle", "in the centre"),
}
PLACE_PHRASES: dict[Place, tuple[str, ...]] = {
    "meadow": ("in the meadow", "on the grass"),
    "beach": ("on the beach", "by the sea"),
    "snow": ("in the snow", "on a snowy field"),
    "street": ("in the street", "in the city at night"),
    "room": ("in the room", "indoors"),
}
PLACE_DETAILS: dict[Place, tuple[str, ...]] = {
    "meadow": ("green grass", "flowers in the meadow"),
    "beach": ("yellow sand", "the blue sea"),
    "snow": ("white snow", "a snowy field"),
    "street": ("a dark street", "windows at night"),
    "room": ("a brown floor", "a window in the room"),
}
FUNCTION_WORDS = frozenset(["a", "is", "the", "there", "that", "we", "see", "in", "on", "at", "by", ",", "."])
"""Words of captions that express no aspect of a scene."""
SENTENCES = (
    "a {size} {colour} {kind} is {position} {place}",
    "{position} there is a {size} {colour} {kind} {place}",
    "{place} , a {size} {kind} that is {colour} , {position}",
    "we see a {colour} {kind} , {size} , {position} , {place}",
)


def position_phrase(position: Position) -> str:
    """Return the fixed phrase for a position in questions and answers."""
    return POSITION_PHRASES[position][0]


def place_phrase(place: Place) -> str:
    """Return the fixed phrase for a place in questions and answers."""
    return PLACE_PHRASES[place][0]


def caption(scene: Scene, rng: random.Random) -> str:
    """Return a random caption, one sentence that names every aspect of the scene."""
    return rng.choice(SENTENCES).format(
        kind=rng.choice(KIND_WORDS[scene.kind]),
        colour=rng.choice(COLOUR_WORDS[scene.colour]),
        size=rng.choice(SIZE_WORDS[scene.size]),
        position=rng.choice(POSITION_PHRASES[scene.position]),
        place=rng.choice(PLACE_PHRASES[scene.place]),
    )


def object_captions(scene: Scene, rng: random.Random) -> tuple[str, ...]:
    """Return random captions of the objects in the scene: the toy, and a detail of the place."""
    colour, kind = rng.choice(COLOUR_WORDS[scene.colour]), rng.choice(KIND_WORDS[scene.kind])
    return (f"a {rng.choice(SIZE_WORDS[scene.size])} {colour} {kind}", rng.choice(PLACE_DETAILS[scene.place]))


def change_sentence(before: Scene, after: Scene) -> str:
    """Return what the toy does between two scenes, as a predicate: `turns red`, `goes to the beach`..."""
    if after.kind != before.kind:
        return f"gives way to a {after.colour} {after.kind}"
    if after.colour != before.colour:
        return f"turns {after.colour}"
    if after.size != before.size:
        return "grows" if after.size == "large" else "shrinks"
    if after.position != before.position:
        return f"moves to the {after.position}"
    if after.place != before.place:
        return f"goes to the {after.place}"
    return "stays the same"


def description(story: Story) -> str:
    """Return the dense description: the first scene in full, then every change in order."""
    first = story.scenes[0]
    sentences = [
        f"a {first.size} {first.colour} {first.kind} is {position_phrase(first.position)} {place_phrase(first.place)} ."
    ]
    for before, after in itertools.pairwise(story.scenes):
        sentences.append(f"it {change_sentence(before, after)} .")
    return " ".join(sentences)
