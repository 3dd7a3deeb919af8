"""EgoSchema: `questions.json` and `subset_answers.json`.

Source: Mangalam et al., NeurIPS 2023 Datasets; github.com/egoschema/EgoSchema. The videos are three-minute clips of
Ego4D, under its licence agreement. 5,031 questions; the answers of 500, the subset, are public, the others are scored
by the organisers' server. Meant for zero-shot use.

    questions.json       a list of {q_uid, question, "option 0" ... "option 4"}
    subset_answers.json  {q_uid: 0 to 4}

Two other published forms are read where these files are not there. Rows of the Hugging Face form, as
`Subset/test-00000-of-00001.parquet` (subset), `MC/test-00000-of-00001.parquet` (full), or `subset.jsonl`, `full.jsonl`
and the same as `.json`: {video_idx, question, option: 5 texts "A. ...", answer}. And that of TOPA's released features,
`val.csv` (subset) and `test.csv` (full): uid, question, a0 to a4, answer.

Videos are `videos/{q_uid}.mp4`, `good_clips_git/{q_uid}.mp4`, or in the folder itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct, field

from ...core.errors import InputError
from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, document, items, located, rows, table
from ..published import choice, distinct, unlettered
from ..submissions import egoschema

_FOLDERS = ("", "EgoSchema", "egoschema", "annotations")
_PARQUET = "test-00000-of-00001.parquet"
_FILES = {
    "subset": (f"Subset/{_PARQUET}", "subset.jsonl", "subset.json", "val.csv"),
    "full": (f"MC/{_PARQUET}", "full.jsonl", "full.json", "test.csv"),
}

_Ask = Callable[[str, str, list[str], int | None], Example]


class _EgoschemaQuestion(Struct, gc=False):
    q_uid: str
    question: str
    a: str = field(name="option 0")
    b: str = field(name="option 1")
    c: str = field(name="option 2")
    d: str = field(name="option 3")
    e: str = field(name="option 4")


class _EgoschemaRow(Struct, gc=False):
    video_idx: str
    question: str
    option: list[str]
    answer: int | str | None = None


def _read(data: Path, split: str) -> Iterator[Example]:
    path = located(data, ("questions.json", *_FILES[split]), f"the questions of EgoSchema ({split})", _FOLDERS)
    videos = VideoFiles(data)

    def ask(name: str, question: str, options: list[str], answer: int | None) -> Example:
        video = videos.find(*(f"{folder}{name}.mp4" for folder in ("videos/", "good_clips_git/", "")))
        return choice(name, name, video, question, options, answer, kind="all")

    def build(row: _EgoschemaRow) -> Example:
        answer = str("" if row.answer is None else row.answer).strip()
        return ask(row.video_idx, row.question, unlettered(row.option), int(answer) if answer else None)

    if path.name == "questions.json":
        yield from distinct(_official(path, split, ask))
    elif path.suffix == ".csv":
        yield from distinct(_released(path, ask))
    else:
        yield from distinct(
            rows(path, _EgoschemaRow, build, "a question of EgoSchema", "video_idx, question and option")
        )


def _official(path: Path, split: str, ask: _Ask) -> Iterator[Example]:
    known = path.with_name("subset_answers.json")
    answers: dict[str, int] = {}
    if known.is_file():
        answers = document(known, dict[str, int], '{"q_uid": 0 to 4}')
    elif split == "subset":
        raise InputError(
            f"{known}: found nothing there; expected the 500 public answers, which say what the subset is. Download "
            "it, or evaluate the full set: --split full"
        )

    def build(item: _EgoschemaQuestion) -> Example:
        return ask(item.q_uid, item.question, [item.a, item.b, item.c, item.d, item.e], answers.get(item.q_uid))

    found = items(
        path, _EgoschemaQuestion, build, "a question of EgoSchema", "q_uid, question and option 0 to option 4"
    )
    yield from (example for example in found if split == "full" or example.id in answers)


def _released(path: Path, ask: _Ask) -> Iterator[Example]:
    options = [f"a{number}" for number in range(5)]
    for stream, told in table(path, ("uid", "question", *options)):
        answer = told.get("answer", "").strip()
        if answer and not answer.isdecimal():
            raise stream.bad(f"the answer {answer!r}", "a number from 0 to 4")
        yield ask(told["uid"].strip(), told["question"], [told[o] for o in options], int(answer) if answer else None)


BENCHMARK = Benchmark("egoschema", "EgoSchema", "choice", {"subset": 500, "full": 5031}, _read, submission=egoschema)
