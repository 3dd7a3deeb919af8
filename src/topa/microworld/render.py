"""Render the micro world: scenes to stills, stories to frames and mp4 files.

Everything is drawn at twice the size and scaled down, for smooth edges. Light, background details and small motions
differ between videos, so that no two renderings of a scene are equal.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from ..core.artifacts import atomic_file
from .world import Colour, Kind, Place, Position, Scene, Size, Story

RGB = tuple[int, int, int]
Point = tuple[float, float]

SIDE = 128
"""Width and height of stills and videos, in pixels."""
FPS = 8
SECONDS_PER_SCENE = 1.0
_FADE = 0.15  # seconds before and after a change over which it is drawn
_SUPER = 2

COLOUR_RGB: dict[Colour, RGB] = {
    "red": (225, 35, 35),
    "green": (30, 165, 60),
    "blue": (40, 85, 235),
    "yellow": (250, 220, 40),
    "purple": (150, 45, 190),
    "white": (250, 250, 250),
}
CENTRES: dict[Position, Point] = {
    "left": (0.23, 0.55),
    "right": (0.77, 0.55),
    "top": (0.5, 0.24),
    "bottom": (0.5, 0.78),
    "middle": (0.5, 0.52),
}
RADII: dict[Size, float] = {"small": 0.11, "large": 0.205}


def render_scene(scene: Scene, rng: random.Random, side: int = SIDE) -> Image.Image:
    """Render a still, RGB, `side` x `side`. rng: for jitter, light and details."""
    canvas = _background(scene.place, rng.randrange(1 << 30), side * _SUPER)
    _draw_toy(
        canvas, scene.kind, COLOUR_RGB[scene.colour], _place_toy(scene, rng), RADII[scene.size], rng.uniform(-1, 1)
    )
    return canvas.reduce(_SUPER)


def _place_toy(scene: Scene, rng: random.Random) -> Point:
    x, y = CENTRES[scene.position]
    return x + rng.uniform(-0.035, 0.035), y + rng.uniform(-0.035, 0.035)


def render_frames(story: Story, seed: int, side: int = SIDE) -> Iterator[Image.Image]:
    """Yield the frames of a story's video at `FPS`, each scene `SECONDS_PER_SCENE` long.

    Moves, growth and new colours are interpolated within `_FADE` of the cut; a new toy or place fades in.
    """
    rng = random.Random(seed)
    scenes, side2 = story.scenes, side * _SUPER
    spots = [_place_toy(scenes[0], rng)]
    for before, after in itertools.pairwise(scenes):
        spots.append(spots[-1] if before.position == after.position else _place_toy(after, rng))
    backgrounds = {
        place: _background(place, rng.randrange(1 << 30), side2) for place in sorted({s.place for s in scenes})
    }
    phase, tilt = rng.uniform(0, math.tau), rng.uniform(-1, 1)

    def still(index: int, colour: RGB, spot: Point, radius: float, time: float) -> Image.Image:
        canvas = backgrounds[scenes[index].place].copy()
        x, y = spot[0], spot[1] + 0.012 * math.sin(4 * time + phase)
        _draw_toy(canvas, scenes[index].kind, colour, (x, y), radius, tilt + 0.3 * math.sin(2 * time))
        return canvas

    def look(index: int, time: float) -> Image.Image:
        scene = scenes[index]
        return still(index, COLOUR_RGB[scene.colour], spots[index], RADII[scene.size], time)

    for number in range(round(len(scenes) * SECONDS_PER_SCENE * FPS)):
        time = number / FPS
        index = min(int(time / SECONDS_PER_SCENE), len(scenes) - 1)
        cut = round(time / SECONDS_PER_SCENE)
        share = (time - cut * SECONDS_PER_SCENE + _FADE) / (2 * _FADE)
        if not (0 < cut < len(scenes) and 0 < share < 1):
            yield look(index, time).reduce(_SUPER)
        elif story.changes[cut - 1] in ("toy", "place"):
            yield Image.blend(look(cut - 1, time), look(cut, time), share).reduce(_SUPER)
        else:
            a, b = scenes[cut - 1], scenes[cut]
            colour = tuple(
                round(_mix(u, v, share)) for u, v in zip(COLOUR_RGB[a.colour], COLOUR_RGB[b.colour], strict=True)
            )
            spot = (_mix(spots[cut - 1][0], spots[cut][0], share), _mix(spots[cut - 1][1], spots[cut][1], share))
            radius = _mix(RADII[a.size], RADII[b.size], share)
            yield still(cut, (colour[0], colour[1], colour[2]), spot, radius, time).reduce(_SUPER)


def write_video(story: Story, path: Path, seed: int, side: int = SIDE) -> None:
    """Render a story to an h264 mp4 file."""
    with atomic_file(path, sync=False) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for image in render_frames(story, seed, side):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def _mix(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


def _background(place: Place, seed: int, side: int) -> Image.Image:
    rng = random.Random(seed)
    light = rng.uniform(0.9, 1.06)

    def shade(rgb: RGB) -> RGB:
        r, g, b = (max(0, min(255, round(c * light + rng.uniform(-6, 6)))) for c in rgb)
        return r, g, b

    sky, ground = {
        "meadow": ((165, 215, 245), (120, 195, 95)),
        "beach": ((190, 230, 250), (236, 214, 160)),
        "snow": ((205, 215, 228), (238, 243, 248)),
        "street": ((28, 30, 62), (78, 78, 86)),
        "room": ((226, 196, 160), (140, 96, 62)),
    }[place]
    canvas = Image.new("RGB", (side, side), shade(sky))
    draw = ImageDraw.Draw(canvas)
    horizon = rng.uniform(0.58, 0.68) * side
    draw.rectangle((0, horizon, side, side), fill=shade(ground))
    _DETAILS[place](draw, rng, side, horizon)
    return canvas


def _meadow(draw: ImageDraw.ImageDraw, rng: random.Random, side: int, horizon: float) -> None:
    for _ in range(14):
        x, y = rng.uniform(0, side), rng.uniform(horizon, side)
        draw.line((x, y, x + rng.uniform(-4, 4), y - 9), fill=(70, 150, 60), width=2)
    for _ in range(5):
        x, y = rng.uniform(0, side), rng.uniform(horizon, side)
        draw.ellipse((x, y, x + 5, y + 5), fill=rng.choice([(250, 235, 120), (250, 170, 190)]))


def _beach(draw: ImageDraw.ImageDraw, rng: random.Random, side: int, horizon: float) -> None:
    draw.rectangle((0, horizon - 0.16 * side, side, horizon), fill=(60, 140, 190))
    for _ in range(6):
        x, y = rng.uniform(0, side), rng.uniform(horizon - 0.15 * side, horizon)
        draw.line((x, y, x + 18, y), fill=(170, 210, 230), width=2)
    for _ in range(12):
        x, y = rng.uniform(0, side), rng.uniform(horizon, side)
        draw.ellipse((x, y, x + 3, y + 3), fill=(200, 175, 120))


def _snow(draw: ImageDraw.ImageDraw, rng: random.Random, side: int, horizon: float) -> None:
    for _ in range(3):
        x = rng.uniform(0, side)
        draw.polygon([(x - 30, horizon), (x, horizon - rng.uniform(25, 50)), (x + 30, horizon)], fill=(178, 192, 212))
    for _ in range(26):
        x, y = rng.uniform(0, side), rng.uniform(0, side)
        draw.ellipse((x, y, x + 4, y + 4), fill=(255, 255, 255))


def _street(draw: ImageDraw.ImageDraw, rng: random.Random, side: int, horizon: float) -> None:
    x = 0.0
    while x < side:
        width, height = rng.uniform(30, 60), rng.uniform(0.2, 0.5) * side
        draw.rectangle((x, horizon - height, x + width, horizon), fill=(48, 48, 72))
        for wx, wy in ((x + 8, horizon - height + 10), (x + 20, horizon - height + 26)):
            draw.rectangle((wx, wy, wx + 6, wy + 8), fill=(240, 205, 110))
        x += width + rng.uniform(2, 12)
    for i in range(5):
        draw.rectangle((i * side / 4, 0.86 * side, i * side / 4 + 22, 0.875 * side), fill=(200, 200, 200))


def _room(draw: ImageDraw.ImageDraw, rng: random.Random, side: int, horizon: float) -> None:
    x = rng.uniform(0.05, 0.6) * side
    draw.rectangle((x, 0.1 * side, x + 0.28 * side, 0.38 * side), fill=(195, 225, 240), outline=(110, 75, 50), width=5)
    draw.line((x + 0.14 * side, 0.1 * side, x + 0.14 * side, 0.38 * side), fill=(110, 75, 50), width=4)
    for i in range(4):
        y = horizon + (i + 1) * (side - horizon) / 5
        draw.line((0, y, side, y), fill=(118, 80, 50), width=2)


_DETAILS: dict[Place, Callable[[ImageDraw.ImageDraw, random.Random, int, float], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "street": _street,
    "room": _room,
}


def _draw_toy(canvas: Image.Image, kind: Kind, rgb: RGB, centre: Point, radius: float, tilt: float) -> None:
    side = canvas.width
    cx, cy, r = centre[0] * side, centre[1] * side, radius * side
    draw = ImageDraw.Draw(canvas)
    edge, width = (20, 20, 20), max(2, round(0.05 * r) + 2)
    dark: RGB = (int(rgb[0] * 0.62), int(rgb[1] * 0.62), int(rgb[2] * 0.62))
    turn = 0.09 * tilt

    def at(x: float, y: float) -> Point:
        c, s = math.cos(turn), math.sin(turn)
        return cx + r * (c * x - s * y), cy + r * (s * x + c * y)

    def shape(points: list[Point], fill: RGB = rgb) -> None:
        corners = [at(x, y) for x, y in points]
        draw.polygon(corners, fill=fill)
        draw.line([*corners, corners[0], corners[1]], fill=edge, width=width, joint="curve")

    def disc(x: float, y: float, size: float, fill: RGB | None = rgb) -> None:
        px, py = at(x, y)
        draw.ellipse((px - r * size, py - r * size, px + r * size, py + r * size), fill=fill, outline=edge, width=width)

    match kind:
        case "ball":
            disc(0, 0, 0.95)
            draw.line([at(-0.85, -0.1), at(-0.3, 0.12), at(0.3, 0.12), at(0.85, -0.1)], fill=dark, width=3 * width)
        case "box":
            shape([(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)])
            shape([(-0.85, -0.2), (0.85, -0.2), (0.85, 0.1), (-0.85, 0.1)], dark)
        case "star":
            radii = [1.15 if i % 2 == 0 else 0.48 for i in range(10)]
            shape([(q * math.sin(i * math.pi / 5), -q * math.cos(i * math.pi / 5)) for i, q in enumerate(radii)])
        case "ring":
            thick = round(0.36 * r)
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), outline=edge, width=thick + 2 * width)
            inner = r - width
            draw.ellipse((cx - inner, cy - inner, cx + inner, cy + inner), outline=rgb, width=thick)
        case "car":
            roof = [(-0.65, 0.0), (-0.45, -0.55), (0.4, -0.55), (0.65, 0.0)]
            shape([(-1.15, 0.0), *roof, (1.15, 0.0), (1.15, 0.5), (-1.15, 0.5)])
            shape([(-0.4, -0.05), (-0.28, -0.4), (0.25, -0.4), (0.4, -0.05)], (205, 230, 240))
            disc(-0.6, 0.55, 0.27, (40, 40, 40))
            disc(0.6, 0.55, 0.27, (40, 40, 40))
        case "fish":
            shape([(0.45, 0.0), (1.15, -0.6), (1.15, 0.6)], dark)
            shape([(0.7 * math.cos(a) - 0.3, 0.55 * math.sin(a)) for a in (i * math.tau / 16 for i in range(16))])
            disc(-0.62, -0.12, 0.1, (250, 250, 250))
        case "boat":
            shape([(-1.1, 0.25), (1.1, 0.25), (0.65, 0.85), (-0.65, 0.85)], dark)
            shape([(-0.08, -1.05), (-0.08, 0.12), (-0.95, 0.12)])
            shape([(0.08, -0.8), (0.08, 0.12), (0.75, 0.12)])
        case "tree":
            shape([(-0.18, 0.4), (0.18, 0.4), (0.18, 1.0), (-0.18, 1.0)], (110, 70, 40))
            shape([(0.0, -1.1), (0.55, -0.25), (0.3, -0.25), (0.85, 0.5), (-0.85, 0.5), (-0.3, -0.25), (-0.55, -0.25)])
