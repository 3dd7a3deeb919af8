"""STAR: `STAR_train.json`, `STAR_val.json`, `STAR_test.json`.

Source: Wu et al., NeurIPS 2021 Datasets; github.com/csbobby/STAR_Benchmark (look there for the annotations'
licence). The videos are Charades (prior.allenai.org/projects/charades), for non-commercial use. val 7,098 questions
(Interaction 2,398, Sequence 3,586, Prediction 624, Feasibility 490), train 45,731, test 7,377 without answers.

A JSON list, most of it situation graphs, which are not read. Of each item:

    question_id  `Interaction_T1_13`: its type stands before the `_`
    question     text
    video_id     `Charades_v1_480/{video_id}.mp4`, or in the folder itself
    start, end   seconds: the question is about this part
    choices      4 of {choice_id, choice}; their order is that of choice_id
    answer       the text of the right choice; the test split has none

Papers report each type, the mean over questions and the mean over types.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, items, located
from ..published import choice, distinct
from ..submissions import star


class _Choice(Struct, gc=False):
    choice_id: int
    choice: str


class _StarQuestion(Struct, gc=False):
    question_id: str
    question: str
    video_id: str
    start: float
    end: float
    choices: list[_Choice]
    answer: str | None = None


def examples(path: Path, videos: Path) -> Iterator[Example]:
    """The questions of a file. Raises InputError where it isn't such a JSON file."""
    places = VideoFiles(videos)

    def build(item: _StarQuestion) -> Example:
        return choice(
            item.question_id,
            item.video_id,
            places.find(f"Charades_v1_480/{item.video_id}.mp4", f"{item.video_id}.mp4"),
            item.question,
            [c.choice for c in sorted(item.choices, key=lambda c: c.choice_id)],
            item.answer,
            kind=item.question_id.partition("_")[0],
            start=item.start,
            end=item.end,
        )

    fields = "question_id, question, video_id, start, end and choices"
    yield from items(path, _StarQuestion, build, "a question of STAR", fields)


def _read(data: Path, split: str) -> Iterator[Example]:
    folders = ("", "Question_Answer_SituationGraph", "annotations", "star")
    path = located(data, [f"STAR_{split}.json"], f"the questions of STAR ({split})", folders)
    yield from distinct(examples(path, data))


def _rows(example: Example, rows: int) -> slice:
    """Released features have a row for each second; the published code takes the last one, too."""
    first = 0 if example.start is None else round(example.start)
    return slice(first, rows if example.end is None else round(example.end) + 1)


BENCHMARK = Benchmark(
    "star",
    "STAR",
    "choice",
    {"val": 7098, "train": 45731, "test": 7377},
    _read,
    macro=True,
    rows=_rows,
    submission=star,
)
