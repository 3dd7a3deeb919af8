"""MSVD-QA and, by the same reader, MSRVTT-QA: `test_qa.json`, or `test.csv`; the same for val and train.

Source: Xu et al., ACM Multimedia 2017; github.com/xudejing/video-question-answering. Questions were made by a program
from the captions of MSVD (YouTube) and MSR-VTT; for research. MSVD-QA: test 13,157, val 6,415, train 30,933.

    {split}_qa.json   a list of {id, video_id, question, answer}
    {split}.csv       video_id, question, answer, qid, type

The answer is one word. The kind is the question's first word, what, who, how, when or where, as papers report it.
`youtube_mapping.txt` (`-4wsuPCjDBc_5_15 vid1` a line) says which video of MSVD a number is; without it a video is
`vid1.avi`. Videos lie in `YouTubeClips/`, `videos/`, or the folder itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct

from ...tideos.streams import Stream
from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, items, located, table
from ..published import distinct, opened

MAP = "youtube_mapping.txt"
_WORDS = ("what", "who", "how", "when", "where")
_SUFFIXES = (".avi", ".mp4", ".webm")


class _MsvdQuestion(Struct, gc=False):
    id: int | str
    video_id: int | str
    question: str
    answer: str | None = None


def examples(path: Path, find: Callable[[str], Path]) -> Iterator[Example]:
    """The questions of a file. find: where the video of an id lies. Raises InputError where it isn't such a file."""
    if path.suffix == ".csv":
        for _, told in table(path, ("video_id", "question", "answer", "qid")):
            yield _asked(told["qid"].strip(), told["video_id"].strip(), told["question"], told["answer"], find)
        return

    def build(item: _MsvdQuestion) -> Example:
        return _asked(str(item.id), str(item.video_id), item.question, item.answer, find)

    yield from items(path, _MsvdQuestion, build, "a question with one answer", "id, video_id, question and answer")


def _asked(name: str, video: str, question: str, answer: str | None, find: Callable[[str], Path]) -> Example:
    first = question.strip().partition(" ")[0].lower()
    return opened(name, video, find(video), question, (answer,), kind=first if first in _WORDS else "other")


def _read(data: Path, split: str) -> Iterator[Example]:
    names = (f"{split}_qa.json", f"{split}.csv")
    path = located(data, names, f"the questions of MSVD-QA ({split})", ("", "MSVD-QA", "annotations"))
    called = _mapping(next((p for p in (path.with_name(MAP), data / MAP) if p.is_file()), None))
    videos = VideoFiles(data)

    @cache
    def find(video: str) -> Path:
        stems = [called.get(f"vid{video}", video), f"vid{video}"]
        names = [f"{root}{s}{e}" for root in ("YouTubeClips/", "videos/", "") for s in stems for e in _SUFFIXES]
        return videos.find(*names, f"{stems[0]}.avi" if stems[0] != video else f"vid{video}.avi")

    yield from distinct(examples(path, find))


def _mapping(path: Path | None) -> dict[str, str]:
    """Numbers to the names of the videos' files; none where there is no such file."""
    if path is None:
        return {}
    with Stream(path) as stream:
        pairs = [line.split() for line in stream.lines()]
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


BENCHMARK = Benchmark(
    "msvd-qa",
    "MSVD-QA",
    "open",
    {"test": 13157, "val": 6415, "train": 30933},
    _read,
    metric="exact match",
)
