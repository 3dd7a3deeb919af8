"""Video-MME: the rows of `videomme/test-00000-of-00001.parquet`, or the same as JSON or JSON Lines.

Source: Fu et al., CVPR 2025; huggingface.co/datasets/lmms-lab/Video-MME, github.com/MME-Benchmarks/Video-MME. For
academic research; the videos are on YouTube and belong to their owners. 2,700 questions about 900 videos. Of each row:

    videoID        `data/{videoID}.mp4`, `videos/`, or in the folder itself
    question_id    names the question: `001-1`
    question       text
    options        4 texts "A. ..."
    answer         the letter of the right one
    task_type      is the question's kind
    duration       short, medium or long; with domain and sub_category what results are told by

Subtitles are `subtitle/{videoID}.srt` or `subtitles/`; not every video has some.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, located, rows
from ..published import by_letter, choice, distinct, unlettered

_FILES = (
    "test-00000-of-00001.parquet",
    "Video-MME.jsonl",
    "Video-MME.json",
    "videomme.jsonl",
    "videomme.json",
    "test.jsonl",
    "test.json",
)
_PARTS = ("duration", "domain", "sub_category")


class _VideommeRow(Struct, gc=False):
    videoID: str  # noqa: N815 (the file's own name)
    question_id: str
    question: str
    options: list[str]
    answer: str | None = None
    task_type: str | None = None
    duration: str | None = None
    domain: str | None = None
    sub_category: str | None = None


def _read(data: Path, split: str) -> Iterator[Example]:
    path = located(data, _FILES, "the questions of Video-MME", ("videomme", "", "Video-MME"))
    videos = VideoFiles(data)

    def build(row: _VideommeRow) -> Example:
        name = row.videoID
        told = {part: getattr(row, part) for part in _PARTS}
        return choice(
            row.question_id,
            name,
            videos.find(*(f"{folder}{name}.mp4" for folder in ("data/", "videos/", ""))),
            row.question,
            unlettered(row.options),
            by_letter(row.answer),
            kind=row.task_type or "other",
            groups=tuple((part, value) for part, value in told.items() if value),
            subtitles=videos.find(*(f"{folder}{name}.srt" for folder in ("subtitle/", "subtitles/", ""))),
        )

    fields = "videoID, question_id, question and options"
    yield from distinct(rows(path, _VideommeRow, build, "a question of Video-MME", fields))


BENCHMARK = Benchmark("videomme", "Video-MME", "choice", {"test": 2700}, _read, subtitles=True)
