"""ActivityNet-QA: `test_q.json` and `test_a.json`, the same for val and train.

Source: Yu et al., AAAI 2019; github.com/MILVLG/activitynet-qa (annotations, under MIT). The videos are ActivityNet's,
on YouTube. test 8,000 questions, val 18,000, train 32,000.

    {split}_q.json   a list of {video_name, question, question_id}
    {split}_a.json   a list of {answer, type: 0 to 8, question_id}

The type is the question's kind, by its name in the data set. A video is `v_{video_name}.mp4` (.mkv, .webm), or without
`v_`, in `all_test/`, `videos/`, or the folder itself. Papers since 2023 have a language model judge answers; here they
are compared word for word, and the metric is called so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, items, located
from ..published import distinct, opened

KINDS = (
    "motion",
    "spatial relationship",
    "temporal relationship",
    "yes/no",
    "color",
    "object",
    "location",
    "number",
    "other",
)
"""By the data set's number."""
_SUFFIXES = (".mp4", ".mkv", ".webm")


class _ActivitynetQuestion(Struct, gc=False):
    video_name: str
    question: str
    question_id: str


class _PublishedAnswer(Struct, gc=False):
    question_id: str
    answer: str
    type: int | str | None = None


def _read(data: Path, split: str) -> Iterator[Example]:
    folders = ("", "dataset", "annotations")
    path = located(data, [f"{split}_q.json"], f"the questions of ActivityNet-QA ({split})", folders)
    told = located(data, [f"{split}_a.json"], f"the answers of ActivityNet-QA ({split})", folders)
    found = items(told, _PublishedAnswer, lambda a: a, "an answer of ActivityNet-QA", "answer, type and question_id")
    answers = {answer.question_id: answer for answer in found}
    videos = VideoFiles(data)

    @cache
    def find(name: str) -> Path:
        stems = [f"{root}{start}{name}" for root in ("all_test/", "videos/", "") for start in ("v_", "")]
        return videos.find(*(f"{stem}{suffix}" for stem in stems for suffix in _SUFFIXES), f"v_{name}.mp4")

    def build(item: _ActivitynetQuestion) -> Example:
        answer = answers.get(item.question_id)
        number = str(answer.type) if answer else ""
        return opened(
            item.question_id,
            item.video_name,
            find(item.video_name),
            item.question,
            (answer.answer if answer else None,),
            kind=KINDS[int(number)] if number.isdecimal() and int(number) < len(KINDS) else "other",
        )

    fields = "video_name, question and question_id"
    yield from distinct(items(path, _ActivitynetQuestion, build, "a question of ActivityNet-QA", fields))


BENCHMARK = Benchmark(
    "activitynet-qa",
    "ActivityNet-QA",
    "open",
    {"test": 8000, "val": 18000, "train": 32000},
    _read,
    metric="exact match",
)
