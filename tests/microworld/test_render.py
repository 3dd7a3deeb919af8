"""Rendered stories, read back from real mp4 files: what the scenes say is what the pixels show."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from topa.microworld.render import (
    CENTRES,
    COLOUR_RGB,
    FPS,
    RADII,
    SECONDS_PER_SCENE,
    SIDE,
    render_frames,
    render_scene,
    write_video,
)
from topa.microworld.world import COLOURS, KINDS, PLACES, POSITIONS, SIZES, Scene, Story, write_story

Pixels = NDArray[np.int64]
STORY = Story(
    (
        Scene("ball", "red", "large", "left", "meadow"),
        Scene("ball", "blue", "large", "left", "meadow"),
        Scene("ball", "blue", "large", "top", "meadow"),
        Scene("ball", "blue", "small", "top", "meadow"),
        Scene("box", "yellow", "small", "top", "meadow"),
    ),
    ("colour", "position", "size", "toy"),
)


def read(path: Path) -> list[Pixels]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def colour_at(image: Pixels, centre: tuple[float, float]) -> str | None:
    """The toys' colour that most pixels around a place have, if any has one. Stripes and edges are other colours."""
    x, y = round(centre[0] * SIDE), round(centre[1] * SIDE)
    pixels = image[y - 10 : y + 11, x - 6 : x + 7].reshape(-1, 1, 3)
    far = np.abs(pixels - np.array([COLOUR_RGB[c] for c in COLOURS])).sum(-1)
    votes = np.bincount(far.argmin(-1)[far.min(-1) < 90], minlength=len(COLOURS))
    return COLOURS[int(votes.argmax())] if votes.max() > 30 else None


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "told.mp4"
    write_video(STORY, path, seed=5)
    return path


def test_the_file_is_an_ordinary_video(video: Path) -> None:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (SIDE, SIDE)
        assert stream.average_rate == FPS
        times = [float(frame.time) for frame in container.decode(video=0)]
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(len(STORY.scenes) * SECONDS_PER_SCENE, abs=0.01)
    assert times == pytest.approx([i / FPS for i in range(round(len(STORY.scenes) * SECONDS_PER_SCENE * FPS))])
    assert video.stat().st_size < 30_000


def test_scene_centres_show_the_toy_in_its_colour_at_its_place(video: Path) -> None:
    frames = read(video)
    for i, scene in enumerate(STORY.scenes):
        image = frames[round((i + 0.5) * SECONDS_PER_SCENE * FPS)]
        assert colour_at(image, CENTRES[scene.position]) == scene.colour, i
        for other in set(POSITIONS) - {scene.position, "middle"}:  # a large toy reaches into the middle
            assert colour_at(image, CENTRES[other]) != scene.colour, (i, other)


def test_every_position_and_colour_of_random_stories(tmp_path: Path) -> None:
    pairs = set()
    for seed in range(12):
        story = write_story(random.Random(seed))
        if not {s.kind for s in story.scenes} & {"ball", "box"}:
            continue
        path = tmp_path / f"{seed}.mp4"
        write_video(story, path, seed)
        frames = read(path)
        for i, scene in enumerate(story.scenes):
            if scene.kind in ("ball", "box"):
                image = frames[round((i + 0.5) * SECONDS_PER_SCENE * FPS)]
                assert colour_at(image, CENTRES[scene.position]) == scene.colour, (seed, i, scene)
                pairs.add((scene.position, scene.colour))
    assert len(pairs) >= 8


def test_stills_show_colour_and_position() -> None:
    rng = random.Random(1)
    for kind, colour, position, size in itertools.product(("ball", "box"), COLOURS, POSITIONS, SIZES):
        scene = Scene(kind, colour, size, position, rng.choice(PLACES))  # type: ignore[arg-type]
        image = np.asarray(render_scene(scene, rng)).astype(int)
        assert image.shape == (SIDE, SIDE, 3)
        assert colour_at(image, CENTRES[position]) == colour, scene


@pytest.mark.parametrize("kind", KINDS)
def test_size_position_and_kind_are_visible(kind: str) -> None:
    """With the same draws, only the toy differs; the changed pixels tell how large it is, and where."""

    def still(kind: str = kind, size: str = "large", position: str = "left") -> Pixels:
        scene = Scene(kind, "purple", size, position, "meadow")  # type: ignore[arg-type]
        return np.asarray(render_scene(scene, random.Random(3))).astype(int)

    def toy(image: Pixels) -> NDArray[np.bool_]:
        """Where the toy is: the background is what images with the toy elsewhere agree on."""
        elsewhere = np.median([still(kind="ball", size="small", position=p) for p in POSITIONS], axis=0)
        mask: NDArray[np.bool_] = np.abs(image - elsewhere).sum(-1) > 60
        return mask

    large, small = toy(still()), toy(still(size="small"))
    ratio = (RADII["large"] / RADII["small"]) ** 2
    assert large.sum() / small.sum() == pytest.approx(ratio, rel=0.3)
    for position in POSITIONS:
        rows, columns = np.nonzero(toy(still(size="small", position=position)))
        assert (columns.mean() / SIDE, rows.mean() / SIDE) == pytest.approx(CENTRES[position], abs=0.07)
    others = [still(kind=other) for other in KINDS if other != kind]
    assert min((np.abs(still() - other).sum(-1) > 60).mean() for other in others) > 0.01


def test_sizes_differ_enough_and_places_lie_apart() -> None:
    assert RADII["large"] > 1.5 * RADII["small"]
    assert set(RADII) == set(SIZES)
    for a, b in itertools.combinations(CENTRES.values(), 2):
        assert np.hypot(a[0] - b[0], a[1] - b[1]) > 0.24


def test_equal_seeds_give_equal_frames_and_other_seeds_do_not(tmp_path: Path) -> None:
    def frames(seed: int) -> Pixels:
        return np.stack([np.asarray(i).astype(int) for i in itertools.islice(render_frames(STORY, seed), 12)])

    assert np.array_equal(frames(1), frames(1))
    assert np.abs(frames(1) - frames(2)).mean() > 1
    for name in "ab":
        write_video(STORY, tmp_path / name, seed=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_change_happens_around_its_cut_and_nowhere_else() -> None:
    """Frames of one scene resemble each other far more than frames across its cut."""
    images = [np.asarray(i).astype(int) for i in render_frames(STORY, 9)]
    per = round(SECONDS_PER_SCENE * FPS)
    for cut in range(1, len(STORY.scenes)):
        before, after = images[cut * per - 3], images[cut * per + 2]
        inside = images[cut * per + 5]
        assert np.abs(before - after).mean() > 1.5 * np.abs(after - inside).mean(), cut
