"""The micro world as a benchmark: questions, open questions and descriptions of videos that topa renders itself.

Source: `topa.microworld` (`topa evaluate microworld` renders the videos where there are none); Apache-2.0, as topa. One
split, `test`; its size is what was rendered, 220 videos by default. In the folder of the data:

    videos/NAME.mp4   one video a story
    questions.jsonl   questions with five options, as of `evals.datasets.own`; of an open question the right answer
                      is `answer_text`, a sentence, or the right option's text, whichever is said
    stories.jsonl     id, video, description: what happens, the reference of its caption; captions: of each scene
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...microworld.questions import TIME_KINDS
from ...tideos.streams import Stream
from ..catalogue import Benchmark
from ..example import Example
from . import own

STORIES = "stories.jsonl"
SPLIT = "test"


def _choices(data: Path, split: str) -> Iterator[Example]:
    stories = {story["video"]: story for story in _stories(data)} if (data / STORIES).is_file() else {}
    for example in own.BENCHMARK.read(data, split):
        story = stories.get(example.video, {})
        captions = tuple(map(str, story.get("captions", ())))
        yield replace(example, description=example.description or str(story.get("description", "")), captions=captions)


def _open(data: Path, split: str) -> Iterator[Example]:
    for example in _choices(data, split):
        right = () if example.answer is None else (example.options[example.answer],)
        references = tuple(dict.fromkeys((*right, *example.references)))
        yield replace(example, options=(), answer=None, references=references)


def _captions(data: Path, split: str) -> Iterator[Example]:
    for story in _stories(data):
        name = str(story["id"])
        yield Example(name, name, data / str(story["video"]), references=(str(story["description"]),))


def _stories(data: Path) -> Iterator[dict[str, Any]]:
    with Stream(data / STORIES) as stream:
        for story in stream.objects():
            if missing := [key for key in ("id", "video", "description") if key not in story]:
                raise stream.bad(f"a story without {missing[0]!r}", "id, video and description")
            yield story


BENCHMARK = Benchmark(
    "microworld", "The micro world", "choice", {SPLIT: None}, _choices, macro=True, time_kinds=TIME_KINDS
)
OPEN = Benchmark("microworld-open", "The micro world, open questions", "open", {SPLIT: None}, _open, "exact match")
CAPTIONS = Benchmark(
    "microworld-captions", "The micro world, descriptions", "caption", {SPLIT: None}, _captions, "CIDEr-D"
)
