"""The micro world's scenes: what is there, and what happens.

Pure data. `language` puts it into words, `render` into pixels, `questions` asks about it.

A story is a fixed number of scenes. Each scene shows **one** toy with a kind, a colour, a size and a
position, at a place; between two scenes exactly one thing changes. A single frame therefore never tells what
happened: whoever wants to know needs the frames *and* their order.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

V = TypeVar("V")

Kind = Literal["ball", "box", "star", "ring", "car", "fish", "boat", "tree"]
Colour = Literal["red", "green", "blue", "yellow", "purple", "white"]
Size = Literal["small", "large"]
Position = Literal["left", "right", "top", "bottom", "middle"]
Place = Literal["meadow", "beach", "snow", "street", "room"]
Aspect = Literal["toy", "colour", "size", "position", "place"]

KINDS: tuple[Kind, ...] = get_args(Kind)
COLOURS: tuple[Colour, ...] = get_args(Colour)
SIZES: tuple[Size, ...] = get_args(Size)
POSITIONS: tuple[Position, ...] = get_args(Position)
PLACES: tuple[Place, ...] = get_args(Place)
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)

SCENES = 5
"""Scenes in a story: the number of textual frames of a Tideo, and of equal parts of a video."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one frame shows."""

    kind: Kind
    colour: Colour
    size: Size
    position: Position
    place: Place


@dataclass(frozen=True, slots=True)
class Story:
    """A sequence of scenes; `changes[i]` is the one aspect in which scene i + 1 differs from scene i.

    A change of `toy` brings another kind *and* another colour; size, position and place stay.
    """

    scenes: tuple[Scene, ...]
    changes: tuple[Aspect, ...]

    def event_times(self, duration: float) -> tuple[tuple[float, Aspect], ...]:
        """When each change happens in a video of `duration` seconds whose scenes are equally long."""
        return tuple((duration * (i + 1) / len(self.scenes), aspect) for i, aspect in enumerate(self.changes))


def write_story(rng: random.Random, scenes: int = SCENES) -> Story:
    """Draw a story. Equal draws of `rng` give equal stories.

    Each story has its own taste for each kind of change, so that stories with many toys, or with one toy that
    changes often, are common enough to be asked about.
    """
    scene = Scene(rng.choice(KINDS), rng.choice(COLOURS), rng.choice(SIZES), rng.choice(POSITIONS), rng.choice(PLACES))
    taste = [rng.gammavariate(0.8, 1.0) + 1e-6 for _ in ASPECTS]
    told, changes, seen = [scene], [], {scene.kind}
    for aspect in rng.choices(ASPECTS, weights=taste, k=scenes - 1):
        scene = _change(scene, aspect, seen, rng)
        seen.add(scene.kind)
        told.append(scene)
        changes.append(aspect)
    return Story(tuple(told), tuple(changes))


def _change(scene: Scene, aspect: Aspect, seen: set[Kind], rng: random.Random) -> Scene:
    def other(values: tuple[V, ...], value: V) -> V:
        return rng.choice([v for v in values if v != value])

    match aspect:
        case "toy":
            kind = rng.choice([k for k in KINDS if k not in seen])
            return replace(scene, kind=kind, colour=other(COLOURS, scene.colour))
        case "colour":
            return replace(scene, colour=other(COLOURS, scene.colour))
        case "size":
            return replace(scene, size=other(SIZES, scene.size))
        case "position":
            return replace(scene, position=other(POSITIONS, scene.position))
        case "place":
            return replace(scene, place=other(PLACES, scene.place))
