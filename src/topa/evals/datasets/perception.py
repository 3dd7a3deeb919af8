"""Perception Test, multiple choice: `mc_question_train.json`, `mc_question_valid.json`, `mc_question_test.json`.

Source: Pătrăucean et al., NeurIPS 2023 Datasets; github.com/google-deepmind/perception_test (annotations and videos
under CC BY 4.0). valid 19,140 questions, test 11,528 without answers, train 7,392. An object of video_id to

    metadata      is not read
    mc_question   a list of {id, question, options: 3 texts, answer_id, area, reasoning, tag}

A question's kind is its area (Memory, Abstraction, Physics, Semantics); results are told by reasoning as well. Its id
is `{video_id}_{id}`. A video is `{video_id}.mp4` in `videos/`, `{split}_videos/`, or the folder itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, document, located
from ..published import choice, distinct
from ..submissions import perception


class _PerceptionQuestion(Struct, gc=False):
    id: int | str
    question: str
    options: list[str]
    answer_id: int | None = None
    area: str | None = None
    reasoning: str | None = None


class _PerceptionVideo(Struct, gc=False):
    mc_question: list[_PerceptionQuestion]


def _read(data: Path, split: str) -> Iterator[Example]:
    folders = ("", f"mc_question_{split}_annotations", "annotations", "perception_test")
    path = located(data, [f"mc_question_{split}.json"], f"the questions of the Perception Test ({split})", folders)
    yield from distinct(_examples(path, VideoFiles(data), split))


def _examples(path: Path, videos: VideoFiles, split: str) -> Iterator[Example]:
    expected = '{"video_id": {"mc_question": [{id, question, options, ...}]}}'
    told: dict[str, _PerceptionVideo] = document(path, dict[str, _PerceptionVideo], expected)
    for name, video in told.items():
        place = videos.find(*(f"{folder}{name}.mp4" for folder in ("videos/", f"{split}_videos/", f"{split}/", "")))
        for asked in video.mc_question:
            yield choice(
                f"{name}_{asked.id}",
                name,
                place,
                asked.question,
                asked.options,
                None if asked.answer_id == -1 else asked.answer_id,
                kind=asked.area or "other",
                groups=(("reasoning", asked.reasoning),) if asked.reasoning else (),
            )


BENCHMARK = Benchmark(
    "perception",
    "Perception Test (multiple choice)",
    "choice",
    {"valid": 19140, "test": 11528, "train": 7392},
    _read,
    submission=perception,
)
