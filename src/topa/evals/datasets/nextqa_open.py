"""NExT-QA, open-ended: `train.csv`, `val.csv`, `test.csv` of the open-ended annotations.

Source: Xiao et al., CVPR 2021; github.com/doc-doc/NExT-OE (no licence is stated; NExT-QA's is MIT). The videos, and
where they lie, are those of the multi-choice form; the files have the same names, so each form needs a folder of its
own. test 9,178 questions, val 5,343, train 37,523. Columns:

    video, qid   `{video}_{qid}` is unique
    question     text
    answer       the right answer, a few words
    type         CW, CH (causal), TN, TC, TP (temporal), DB, DC, DL, DO (descriptive)
    frame_count, width, height  are not read

`add_reference_answer_{split}.json`, where it lies beside the questions, holds a second right answer of some of them,
as `{"4010069381": {"6": "hit with sticks"}}`. The metric is WUPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..catalogue import Benchmark
from ..example import Example
from ..files import document, located, table
from ..published import distinct, opened
from .nextqa import FAMILIES, FOLDERS, finder

_COLUMNS = ("video", "question", "answer", "qid", "type")


def _read(data: Path, split: str) -> Iterator[Example]:
    path = located(data, [f"{split}.csv"], f"the open-ended questions of NExT-QA ({split})", FOLDERS)
    more = path.with_name(f"add_reference_answer_{split}.json")
    second: dict[str, dict[str, str]] = {}
    if more.is_file():
        second = document(more, dict[str, dict[str, str]], '{"video": {"qid": "answer"}}')
    yield from distinct(_examples(path, data, second))


def _examples(path: Path, videos: Path, second: dict[str, dict[str, str]]) -> Iterator[Example]:
    find = finder(path, videos)
    for stream, told in table(path, _COLUMNS):
        if "a0" in told:
            raise stream.bad("the column a0, of the multi-choice questions", "the open-ended ones (NExT-OE)", 1)
        video, number, kind = told["video"].strip(), told["qid"].strip(), told["type"].strip() or "other"
        yield opened(
            f"{video}_{number}",
            video,
            find(video),
            told["question"],
            (told["answer"], second.get(video, {}).get(number)),
            kind=kind,
            groups=(("family", FAMILIES.get(kind[:1], "other")),),
        )


BENCHMARK = Benchmark(
    "nextqa-open",
    "NExT-QA (open-ended)",
    "open",
    {"test": 9178, "val": 5343, "train": 37523},
    _read,
    metric="WUPS",
)
