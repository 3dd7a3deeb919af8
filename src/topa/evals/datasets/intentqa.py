"""IntentQA: `train.csv`, `val.csv`, `test.csv`.

Source: Li et al., ICCV 2023; github.com/JoseponLee/IntentQA (no licence is stated; the questions and the videos come
from NExT-QA). test 2,134 questions, val 2,044, train 12,119. The columns are NExT-QA's, with `video_id` for the video,
and `action, lemma, lemma_id` behind them, which are not read. Videos lie as NExT-QA's do.

Papers report all questions and three parts: CW (why), CH (how), and TN with TP (before and after).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..catalogue import Benchmark
from ..example import Example
from ..files import located
from ..published import distinct
from .nextqa import choices

_PARTS = {"CW": "why", "CH": "how", "TN": "before and after", "TP": "before and after"}


def _read(data: Path, split: str) -> Iterator[Example]:
    folders = ("", "IntentQA", "datasets/IntentQA", "intentqa", "annotations")
    path = located(data, [f"{split}.csv"], f"the questions of IntentQA ({split})", folders)
    yield from distinct(choices(path, data, "video_id", lambda kind: (("part", _PARTS.get(kind, "other")),)))


BENCHMARK = Benchmark("intentqa", "IntentQA", "choice", {"test": 2134, "val": 2044, "train": 12119}, _read)
