"""MSRVTT-QA: `test_qa.json`, or `test.csv`; the same for val and train. See `msvd_qa` for the source and the fields.

test 72,821 questions, val 12,278, train 158,581. The video of the id 7010 is `video7010.mp4`, in `TestVideo/`,
`TrainValVideo/`, `videos/all/`, `videos/`, or the folder itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, located
from ..published import distinct
from .msvd_qa import examples

_FOLDERS = ("TestVideo/", "TrainValVideo/", "videos/all/", "videos/", "")


def _read(data: Path, split: str) -> Iterator[Example]:
    names = (f"{split}_qa.json", f"{split}.csv")
    path = located(data, names, f"the questions of MSRVTT-QA ({split})", ("", "MSRVTT-QA", "annotations"))
    videos = VideoFiles(data)

    @cache
    def find(video: str) -> Path:
        name = video if video.startswith("video") else f"video{video}"
        return videos.find(*(f"{folder}{name}.mp4" for folder in _FOLDERS))

    yield from distinct(examples(path, find))


BENCHMARK = Benchmark(
    "msrvtt-qa",
    "MSRVTT-QA",
    "open",
    {"test": 72821, "val": 12278, "train": 158581},
    _read,
    metric="exact match",
)
