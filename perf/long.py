"""Which frames of a long video should be read, measured on the micro world: `python perf/long.py --json FILE`.

Renders videos of 60 scenes, twelve stories behind each other, and asks about a toy that only one of them has. Five
frames can be read at a time. Prints, for each way to choose them, accuracy and the paired difference to evenly spread
frames, with 95 % intervals (bootstrap over videos). What is asked is decoded once; the ways differ in nothing else.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from measure import save_figures
from torch import Tensor

from topa.core.progress import track
from topa.evals.metrics import accuracy, difference
from topa.features.frames import FrameFeatures
from topa.features.keyframes import select_keyframes
from topa.features.relevance import maximal_marginal_relevance, query, segments, top_k
from topa.inference.engine import Topa
from topa.inference.frame_selection import SEGMENTS, segment
from topa.inference.projected_video import ProjectedVideo, encode_whole_video
from topa.inference.request import Request
from topa.inference.scorer import OptionScores as Scores
from topa.inference.scorer import score_options
from topa.inference.video_inputs import SegmentedInputs
from topa.microworld.questions import candidates, lay_out
from topa.microworld.render import FPS, SIDE, render_frames
from topa.microworld.world import SCENES, Story, write_story
from topa.tideos.tideo import Question
from topa.training.pretrained import load

STORIES = 12
ABOUT = ("colour", "place", "position", "action", "before_after")  # kinds of questions that name a toy


@dataclass(frozen=True)
class Long:
    """A long video: where the story is that is asked about, and what is asked."""

    path: Path
    story: int
    questions: tuple[Question, ...]


def compose(rng: random.Random) -> tuple[list[Story], int, tuple[Question, ...]]:
    """Twelve stories, of which one has the toy that is asked about."""
    while True:
        story = write_story(rng)
        toy = rng.choice(sorted({scene.kind for scene in story.scenes}))
        asked = [lay_out(c, rng) for kind in ABOUT for c in candidates(story, kind) if toy in c.question.split()]
        if not asked:
            continue
        others = [s for s in (write_story(rng) for _ in range(40 * STORIES)) if all(x.kind != toy for x in s.scenes)]
        at = rng.randrange(STORIES)
        return [*others[:at], story, *others[at : STORIES - 1]], at, tuple(asked)


def render(stories: Sequence[Story], path: Path, rng: random.Random) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for story in stories:
            for image in render_frames(story, rng.randrange(1 << 30)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def long_videos(out: Path, count: int, seed: int) -> Iterator[Long]:
    rng = random.Random(f"long {seed}")
    for number in range(count):
        stories, at, questions = compose(rng)
        path = out / f"{number}.mp4"
        render(stories, path, rng)
        yield Long(path, at, questions)


@dataclass(frozen=True)
class Asked:
    """One question about one long video, and what all ways need."""

    footage: ProjectedVideo
    video: Long
    question: Question

    @property
    def engine(self) -> Topa:
        return self.footage.engine

    def like(self, plain: bool = False) -> Tensor:
        words, encode = self.question.question, self.engine.encoder.encode_texts
        return encode([words])[0] if plain else query(words, self.question.options, encode)

    def read(self, rows: Sequence[Sequence[int]]) -> list[Scores]:
        """What the model answers over each of these sets of frames."""
        values = torch.stack([self.footage.values()[list(numbers)] for numbers in rows])
        valid = torch.ones(values.shape[:2], dtype=torch.bool)
        questions = [self.question] * len(rows)
        return score_options(
            self.engine.model, self.engine.prompter, questions, values, valid, protocol=self.engine.config.protocol
        )

    def by(self, way: str) -> int:
        answer = self.engine.ask(self.footage, self.question.question, self.question.options, frame_selection=way)
        assert answer.choice is not None
        return answer.choice

    def stories(self) -> list[tuple[int, int]]:
        each = len(self.footage) // STORIES
        return [(each * n, each * (n + 1)) for n in range(STORIES)]

    def parts(self, whole: bool) -> list[tuple[int, int, float]]:
        """The best four segments, or stories: their frames, and how much they are like the question."""
        frames = self.engine.config.frames
        parts = self.stories() if whole else segments(len(self.footage), frames)
        best = top_k(self.footage.values(), self.like(), parts, SEGMENTS)
        return [(*parts[n], likeness) for n, likeness in best]

    def standing(self, numbers: Sequence[int]) -> list[int]:
        rows = self.footage.image.values[list(numbers)]
        return [numbers[n] for n in select_keyframes(rows, self.engine.config.frames)]


def alone(asked: Asked) -> int:
    start, end = asked.stories()[asked.video.story]
    return asked.read([asked.standing(range(start, end))])[0].choice


def scenes(asked: Asked) -> int:
    return asked.read([asked.standing(range(len(asked.footage)))])[0].choice


def by_question(relevance: float, plain: bool = False) -> Callable[[Asked], int]:
    def choose(asked: Asked) -> int:
        count = asked.engine.config.frames
        chosen = maximal_marginal_relevance(asked.footage.values(), asked.like(plain), count, relevance=relevance)
        return asked.read([chosen])[0].choice

    return choose


def mixed(whole: bool, number: int = SEGMENTS) -> Callable[[Asked], int]:
    def choose(asked: Asked) -> int:
        parts = tuple(segment(asked.footage, *part) for part in asked.parts(whole)[:number])
        inputs = SegmentedInputs(parts, "hierarchical")
        (found,) = asked.engine.answer([Request(inputs, asked.question.question, asked.question.options)])
        assert found.choice is not None
        return found.choice

    return choose


def surest(whole: bool) -> Callable[[Asked], int]:
    """The answer of the part of which the model finds one likeliest."""

    def choose(asked: Asked) -> int:
        rows = [asked.standing(range(start, end)) for start, end, _ in asked.parts(whole)]
        return min(asked.read(rows), key=lambda score: min(score.mean_nll)).choice

    return choose


def joined(whole: bool) -> Callable[[Asked], int]:
    """The frames of all parts as one sequence, of which those are read that stand for its scenes."""

    def choose(asked: Asked) -> int:
        numbers = sorted(n for start, end, _ in asked.parts(whole) for n in range(start, end))
        return asked.read([asked.standing(numbers)])[0].choice

    return choose


UNIFORM = "uniform"
WAYS: dict[str, Callable[[Asked], int]] = {
    UNIFORM: lambda asked: asked.by("uniform"),
    "frames that stand for scenes": scenes,
    "question": lambda asked: asked.by("question"),
    "question, relevance 1": by_question(1.0),
    "question, relevance 0.7": by_question(0.7),
    "question, its words as they are": by_question(0.9, plain=True),
    "hierarchical": lambda asked: asked.by("hierarchical"),
    "hierarchical, the best segment alone": mixed(whole=False, number=1),
    "hierarchical, the surest of four segments": surest(whole=False),
    "hierarchical, four segments as one sequence": joined(whole=False),
    "twelve videos: mean of the best four": mixed(whole=True),
    "twelve videos: the best alone": mixed(whole=True, number=1),
    "twelve videos: the surest of four": surest(whole=True),
    "twelve videos: four as one sequence": joined(whole=True),
    "the story alone": alone,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], epilog="Example: long.py --videos 8")
    parser.add_argument("--videos", type=int, default=200, help="long videos")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--model", type=Path, help="a saved micro model; by default the one that comes with topa")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    engine = load(given.model)
    right: dict[str, list[bool]] = {name: [] for name in WAYS}
    groups: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        videos = long_videos(Path(folder), given.videos, given.seed)
        for video in track(videos, "asking", given.videos, show=sys.stderr.isatty()):
            footage = encode_whole_video(engine, video.path)
            if len(footage) != SCENES * STORIES:
                sys.exit(f"found {len(footage)} frames; expected one a second, {SCENES * STORIES}")
            video.path.unlink()
            # What a library keeps is in half precision.
            footage = ProjectedVideo(engine, half(footage.image))
            for question in video.questions:
                groups.append(video.path.stem)
                for name, way in WAYS.items():
                    right[name].append(way(Asked(footage, video, question)) == question.answer)
    rows: list[dict[str, Any]] = []
    print("| frames | accuracy | minus uniform |\n|---|---|---|")
    for name, found in right.items():
        own, more = accuracy(found, groups), difference(found, right[UNIFORM], groups)
        rows.append({"name": name, "accuracy": own.model_dump(), "difference": more.model_dump()})
        gain = "" if name == UNIFORM else f"{more.value:+.3f} ({more.low:+.3f} to {more.high:+.3f})"
        print(f"| {name} | {own.value:.3f} ({own.low:.3f} to {own.high:.3f}) | {gain} |")
    if given.json:
        about = {"torch": torch.__version__, "machine": platform.machine(), "seed": given.seed}
        about |= {"videos": given.videos, "questions": len(groups)}
        save_figures(given.json, about | {"rows": rows})


def half(image: FrameFeatures) -> FrameFeatures:
    values = torch.nn.functional.normalize(image.values.half().float(), dim=-1)
    return FrameFeatures(values, image.valid, image.space, image.encoder, image.times)


if __name__ == "__main__":
    main()
