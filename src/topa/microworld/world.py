"""The micro world's scenes and stories, as pure data.

`language` describes them in words, `render` draws them, `questions` asks about them.

A story is a fixed number of scenes. Each scene shows **one** toy with a kind, a colour, a size and a position, at a
place; between two scenes exactly one aspect changes. So a single frame never shows what happens: that takes the frames
*and* their order.
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
"""Scenes per story: textual frames of a Tideo, and equal segments of a video."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The content of one frame."""

    kind: Kind
    colour: Colour
    size: Size
    position: Position
    place: Place


@dataclass(frozen=True, slots=True)
class Story:
    """A sequence of scenes. changes: the aspect in which each scene differs from the previous one.

    A change of `toy` changes both kind and colour; size, position and place stay.
    """

    scenes: tuple[Scene, ...]
    changes: tuple[Aspect, ...]

    def event_times(self, duration: float) -> tuple[tuple[float, Aspect], ...]:
        """Return (seconds, aspect) of each change in a video of `duration` seconds with equally long scenes."""
        return tuple((duration * (i + 1) / len(self.scenes), aspect) for i, aspect in enumerate(self.changes))


def write_story(rng: random.Random, scenes: int = SCENES) -> Story:
    """Draw a story; it depends on `rng` only.

    Each story has its own probabilities of the kinds of change, so that stories with many toys, or with one toy that
    changes often, are common enough for questions about them.
    """
    scene = Scene(rng.choice(KINDS), rng.choice(COLOURS), rng.choice(SIZES), rng.choice(POSITIONS), rng.choice(PLACES))
    taste = [rng.gammavariate(0.8, 1.0) + 1e-6 for _ in ASPECTS]
    history, changes, past_kinds = [scene], [], {scene.kind}
    for aspect in rng.choices(ASPECTS, weights=taste, k=scenes - 1):
        scene = _change(scene, aspect, past_kinds, rng)
        past_kinds.add(scene.kind)
        history.append(scene)
        changes.append(aspect)
    return Story(tuple(history), tuple(changes))


def _change(scene: Scene, aspect: Aspect, past_kinds: set[Kind], rng: random.Random) -> Scene:
    def other(values: tuple[V, ...], value: V) -> V:
        return rng.choice([v for v in values if v != value])

    match aspect:
        case "toy":
            kind = rng.choice([k for k in KINDS if k not in past_kinds])
            return replace(scene, kind=kind, colour=other(COLOURS, scene.colour))
        case "colour":
            return replace(scene, colour=other(COLOURS, scene.colour))
        case "size":
            return replace(scene, size=other(SIZES, scene.size))
        case "position":
            return replace(scene, position=other(POSITIONS, scene.position))
        case "place":
            return replace(scene, place=other(PLACES, scene.place))
