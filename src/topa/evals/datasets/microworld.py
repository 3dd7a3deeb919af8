"""The micro world as a benchmark: questions, open questions and descriptions of videos that topa renders itself.

Source: `topa.microworld` (`topa evaluate microworld` renders the videos where there are none); Apache-2.0, as topa. One
split, `test`; its size is what was rendered, 220 videos by default. In the folder of the data:

    videos/NAME.mp4   one video a story
    questions.jsonl   questions with five options, as of `evals.datasets.own`; of an open question the right answer
                      is `answer_text`, a sentence, or the right option's text, whichever is said
    stories.jsonl     id, video, description: what happens, the reference of its caption
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...tideos.streams import Stream
from ..catalogue import Benchmark
from ..example import Example
from . import own

STORIES = "stories.jsonl"
SPLIT = "test"


def _choices(data: Path, split: str) -> Iterator[Example]:
    yield from own.BENCHMARK.read(data, split)


def _open(data: Path, split: str) -> Iterator[Example]:
    for example in _choices(data, split):
        right = () if example.answer is None else (example.options[example.answer],)
        references = tuple(dict.fromkeys((*right, *example.references)))
        yield replace(example, options=(), answer=None, references=references)


def _captions(data: Path, split: str) -> Iterator[Example]:
    with Stream(data / STORIES) as stream:
        for story in stream.objects():
            try:
                name, video, description = (str(story[key]) for key in ("id", "video", "description"))
            except KeyError as error:
                raise stream.bad(f"a story without {error}", "id, video and description") from error
            yield Example(name, name, data / video, references=(description,))


BENCHMARK = Benchmark("microworld", "The micro world", "choice", {SPLIT: None}, _choices, macro=True)
OPEN = Benchmark("microworld-open", "The micro world, open questions", "open", {SPLIT: None}, _open, "exact match")
CAPTIONS = Benchmark(
    "microworld-captions", "The micro world, descriptions", "caption", {SPLIT: None}, _captions, "CIDEr-D"
)
