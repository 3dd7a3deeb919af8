"""How well words find moments in the micro world: `python perf/retrieval.py --out DIR [--json FILE]`.

Videos are indexed at four frames a second; queries are captions of their scenes, names of their toys and what changes.
Every scene has distractors by construction: its neighbours in the story differ from it in one aspect only, and 2,000
others are drawn from the same few words. Two questions: which moments of the library does a search give first, and
when does one video show it. Each figure has a 95 % interval, bootstrapped over queries. What is encoded is kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import save_figures
from PIL import Image
from torch import Tensor

from topa.core.embedded import resolve
from topa.core.errors import ArtifactError
from topa.core.progress import track
from topa.evals.metrics import accuracy, difference
from topa.features.encoder import Encoder
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.features.video import sample_frames
from topa.library.contents import Contents, Moment, Video
from topa.library.moments import Rule, overlap
from topa.library.search import ALONE, RULE, Search
from topa.library.similarity import Similarity
from topa.memory.bank import MemoryBank
from topa.microworld import language
from topa.microworld.render import SECONDS_PER_SCENE
from topa.microworld.world import SCENES, Scene
from topa.microworld.writer import make_videos, write_tideos
from topa.tideos.jsonl import write_jsonl
from topa.training.align import make_memory, open_corpus
from topa.training.config import read_recipe

VIDEOS, SEED, TUNING_SEED = 400, 4_000_037, 3_000_017
RATE = 4  # frames a second
LENGTH = SCENES * SECONDS_PER_SCENE
CAMERAS = ("clean", "dark and noisy")
SIMILARITIES: tuple[Similarity, ...] = ("raw", "centred", "projected")
AT = (1, 5, 10)
ENOUGH = 0.5  # intersection over union of a moment that counts as found
Interval = tuple[float, float]


@dataclass(frozen=True)
class Query:
    """truth: by the number of each video that shows it, when it does."""

    kind: str
    text: str
    video: int
    truth: dict[int, list[Interval]]


def runs(right: list[bool]) -> list[Interval]:
    """The times of scenes that are right; neighbouring ones are one interval."""
    found, start = [], 0
    for value, group in itertools.groupby(right):
        end = start + len(list(group))
        if value:
            found.append((start * SECONDS_PER_SCENE, end * SECONDS_PER_SCENE))
        start = end
    return found


def changes(scenes: list[Scene], wanted: tuple[str, str]) -> list[Interval]:
    """A second around each change of this kind."""
    times = [
        (at + 1) * SECONDS_PER_SCENE
        for at, (before, after) in enumerate(itertools.pairwise(scenes))
        if changing(before, after) == wanted
    ]
    return [(time - 0.5, time + 0.5) for time in times]


def changing(before: Scene, after: Scene) -> tuple[str, str]:
    return f"a {before.size} {before.colour} {before.kind}", language.change_sentence(before, after)


def toy(scene: Scene) -> tuple[str, str, str]:
    return scene.kind, scene.colour, scene.size


def ask(stories: list[list[Scene]], seed: int) -> Iterator[Query]:
    """Of each video a scene, a toy and a change, and everywhere else where they come, too."""
    rng = random.Random(f"queries {seed}")

    def everywhere(found: Callable[[list[Scene]], list[Interval]]) -> dict[int, list[Interval]]:
        return {number: times for number, scenes in enumerate(stories) if (times := found(scenes))}

    for number, scenes in enumerate(stories):
        scene = rng.choice(scenes)
        same = everywhere(lambda own, scene=scene: runs([s == scene for s in own]))
        yield Query("scene", language.caption(scene, rng), number, same)
        scene = rng.choice(scenes)
        same = everywhere(lambda own, scene=scene: runs([toy(s) == toy(scene) for s in own]))
        yield Query("toy", language.object_captions(scene, rng)[0], number, same)
        change = changing(*rng.choice(list(itertools.pairwise(scenes))))
        same = everywhere(lambda own, change=change: changes(own, change))
        yield Query("change", " ".join(change), number, same)


class World:
    """Videos, their features through each camera, and the memory; made once and kept below `out`."""

    def __init__(self, out: Path, videos: int, seed: int, tideos: int | None) -> None:
        self.out = out
        self.encoder = Encoder.from_pretrained(resolve("microworld/clip"))
        self.memory = self._memory(tideos)
        folder = out / f"videos-{seed}-{videos}"
        if not (folder / "stories.jsonl").is_file():
            make_videos(folder, videos, seed)
        told = [json.loads(line) for line in (folder / "stories.jsonl").read_text().splitlines()]
        self.stories = [[Scene(**scene) for scene in story["scenes"]] for story in told]
        self.videos = [Video(s["id"], s["video"], LENGTH, round(RATE * LENGTH)) for s in told]
        self.queries = list(ask(self.stories, seed))
        self.words = self.encoder.encode_texts([query.text for query in self.queries])
        self.folder = folder

    def _memory(self, tideos: int | None) -> MemoryBank:
        config = read_recipe("microworld")
        count = tideos or config.microworld_tideos
        folder = self.out / f"memory-{count}"
        try:
            return MemoryBank.load(folder)
        except ArtifactError:
            folder.mkdir(parents=True, exist_ok=True)
        write_jsonl(write_tideos(count, config.seed), folder / "tideos.jsonl")
        corpus = open_corpus(folder / "tideos.jsonl", config, folder / "features", show=False)
        made = make_memory(corpus, config.memory_rows, config.seed)
        made.save(folder)
        return made

    def contents(self, camera: str) -> Contents:
        folder = self.folder / camera.replace(" ", "-")
        try:
            return Contents([FeatureStore.open(folder)], self.videos, self.folder)
        except ArtifactError:
            writer = FeatureStoreWriter(folder, self.encoder.identity, self.encoder.width, "image")
        rng = np.random.default_rng(0)
        for video in track(self.videos, camera, len(self.videos)):
            sampled = sample_frames(self.folder / video.path, video.frames)
            pictures = sampled.frames
            if camera != "clean":
                pixels = np.stack([np.asarray(picture, dtype=np.float64) for picture in pictures])
                pixels = (0.7 * pixels + rng.normal(0, 20, pixels.shape)).clip(0, 255)
                pictures = [Image.fromarray(p) for p in pixels.astype(np.uint8)]
            values = self.encoder.encode_images(pictures)
            valid, times = torch.ones(len(values), dtype=torch.bool), torch.tensor(sampled.times, dtype=torch.float64)
            writer.add(FrameFeatures(values, valid, "image", self.encoder.identity, times), video.id)
        return Contents([writer.close()], self.videos, self.folder)


def searched(world: World, camera: str, rules: list[Rule]) -> Iterator[dict[str, Any]]:
    """What a search of the library gives first."""
    contents = world.contents(camera)
    numbers = {video.id: number for number, video in enumerate(world.videos)}
    for rule, similarity in itertools.product(rules, SIMILARITIES):
        found = Search(contents, similarity, world.memory).moments(world.words, 20, rule=rule)
        for kind in sorted({query.kind for query in world.queries}):
            pairs = [(q, own) for q, own in zip(world.queries, found, strict=True) if q.kind == kind]
            figures = {}
            for k in AT:
                figures[f"video recall@{k}"] = [
                    any(n in query.truth for n in list(dict.fromkeys(numbers[m.video.id] for m in own))[:k])
                    for query, own in pairs
                ]
            for k in AT:
                figures[f"moment recall@{k}"] = [
                    any(right(m, q.truth.get(numbers[m.video.id], [])) >= ENOUGH for m in own[:k]) for q, own in pairs
                ]
            figures["IoU of the first"] = [right(own[0], q.truth.get(numbers[own[0].video.id], [])) for q, own in pairs]
            yield row("search", camera, kind, similarity, rule, figures)


def right(moment: Moment, truth: list[Interval]) -> float:
    return overlap((moment.start, moment.end), truth)


def timed(world: World, camera: str, rules: list[Rule]) -> Iterator[dict[str, Any]]:
    """When one video shows it: queries whose answer isn't the whole video."""
    contents = world.contents(camera)
    asked = [
        (query, words, query.truth[query.video])
        for query, words in zip(world.queries, world.words, strict=True)
        if query.truth[query.video] != [(0.0, LENGTH)]
    ]
    ways: list[tuple[str, Rule | None, Callable[[Query, Tensor, list[Interval]], list[Interval]]]] = []
    for rule, similarity in itertools.product(rules, SIMILARITIES):
        search = Search(contents, similarity, world.memory)

        def answer(
            query: Query, words: Tensor, _: object, search: Search = search, rule: Rule = rule
        ) -> list[Interval]:
            return [(m.start, m.end) for m in search.when(world.videos[query.video], words, 1, rule)]

        ways.append((similarity, rule, answer))
    rng = random.Random(0)

    def middle(_: Query, __: Tensor, truth: list[Interval]) -> list[Interval]:
        half = (truth[0][1] - truth[0][0]) / 2
        return [(LENGTH / 2 - half, LENGTH / 2 + half)]

    def somewhere(_: Query, __: Tensor, truth: list[Interval]) -> list[Interval]:
        length = truth[0][1] - truth[0][0]
        starts = [rng.uniform(0, LENGTH - length) for _ in range(100)]
        return [(start, start + length) for start in starts]

    ways += [
        ("whole video", None, lambda *_: [(0.0, LENGTH)]),
        ("middle, of the true length", None, middle),
        ("random, of the true length", None, somewhere),
    ]
    for kind in sorted({query.kind for query, *_ in asked}):
        own = [one for one in asked if one[0].kind == kind]
        base: list[float] = []
        for name, rule, way in reversed(ways):
            overlaps = [[overlap(interval, one[2]) for interval in way(*one)] for one in own]
            means = [float(np.mean(o)) for o in overlaps]
            found = [float(np.mean([one >= ENOUGH for one in o])) for o in overlaps]
            base = base or means
            figures = {"mean IoU": means, f"recall at {ENOUGH}": found}
            made = row("when", camera, kind, name, rule, figures)
            gained = difference(means, base, [str(n) for n in range(len(own))])
            yield {**made, "over random": gained.model_dump()}


def row(
    part: str, camera: str, kind: str, name: str, rule: Rule | None, figures: dict[str, list[Any]]
) -> dict[str, Any]:
    def estimate(values: list[Any]) -> dict[str, Any]:
        return accuracy([float(v) for v in values], [str(n) for n in range(len(values))]).model_dump()

    about = {"part": part, "camera": camera, "queries": kind, "name": name}
    told = None if rule is None else {"share": rule.share, "gap": rule.gap}
    return {**about, "rule": told, "figures": {what: estimate(values) for what, values in figures.items()}}


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a table a part."""
    text = ""
    for part in ("search", "when"):
        own = [one for one in rows if one["part"] == part]
        if not own:
            continue
        heads = list(own[0]["figures"])
        text += "| camera | queries | similarity | rule | " + " | ".join(heads) + " |\n"
        text += "|---|---|---|---|" + "---:|" * len(heads) + "\n"
        for one in own:
            told = "" if one["rule"] is None else f"{one['rule']['share']}, {one['rule']['gap']} s"
            figures = [f"{f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f})" for f in one["figures"].values()]
            text += f"| {one['camera']} | {one['queries']} | {one['name']} | {told} | " + " | ".join(figures) + " |\n"
        text += "\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of videos and features")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--tideos", type=int, help="that the memory is drawn from; by default the recipe's")
    parser.add_argument("--cameras", nargs="*", default=CAMERAS, choices=CAMERAS)
    parser.add_argument("--tune", action="store_true", help="try rules on other videos: those that the rules are from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    world = World(given.out, given.videos, TUNING_SEED if given.tune else SEED, given.tideos)
    rules, alone = [RULE], [ALONE]
    if given.tune:
        grid = [Rule(share, gap) for share in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9) for gap in (0.0, 1.0)]
        rules, alone = grid, grid
    rows = []
    for camera in given.cameras:
        rows += [*searched(world, camera, rules), *timed(world, camera, alone)]
    print(as_table(rows))
    if given.json:
        told = {"videos": given.videos, "frames_a_second": RATE, "memory_rows": len(world.memory), "rows": rows}
        save_figures(given.json, told)


if __name__ == "__main__":
    main()
