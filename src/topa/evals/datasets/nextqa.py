"""NExT-QA, multiple choice: `train.csv`, `val.csv`, `test.csv`.

Source: Xiao et al., CVPR 2021; github.com/doc-doc/NExT-QA (the multi-choice annotations, under MIT). The videos are
VidOR's (Creative Commons, from Flickr). val 4,996 questions, test 8,564, train 34,132. Columns:

    video            the video's id
    question, a0..a4 texts
    answer           the right option, 0 to 4
    qid              numbers the questions of a video: `{video}_{qid}` is unique
    type             CW, CH (causal), TN, TC, TP (temporal), DC, DL, DO (descriptive)
    frame_count, width, height  are not read

`map_vid_vidorID.json` says where a video lies, as `{"4010069381": "1009/4010069381"}`. It is looked for beside the
questions, in the folder of videos and beside that; a video is then `NExTVideo/1009/4010069381.mp4`, the same without
`NExTVideo`, or `4010069381.mp4`, whichever is there. Papers report all questions and each of the three families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, document, located, table
from ..published import choice, distinct

MAP = "map_vid_vidorID.json"
FOLDERS = ("", "nextqa", "annotations", "datasets/nextqa", "dataset/nextqa")
FAMILIES = {"C": "causal", "T": "temporal", "D": "descriptive"}
_OPTIONS = tuple(f"a{number}" for number in range(5))
_COLUMNS = ("question", "answer", "qid", "type", *_OPTIONS)


def examples(path: Path, videos: Path) -> Iterator[Example]:
    """The questions of a file. Raises InputError where it isn't such a CSV file."""
    yield from choices(path, videos, "video", lambda kind: (("family", FAMILIES.get(kind[:1], "other")),))


def choices(
    path: Path, videos: Path, column: str, groups: Callable[[str], tuple[tuple[str, str], ...]]
) -> Iterator[Example]:
    """The questions of a file in NExT-QA's columns. column: of the video. groups: of a type of question."""
    find = finder(path, videos)
    for stream, told in table(path, (column, *_COLUMNS)):
        answer, kind = told["answer"].strip(), told["type"].strip() or "other"
        if answer and not answer.isdecimal():
            raise stream.bad(f"the answer {answer!r}", "a number from 0 to 4")
        video = told[column].strip()
        yield choice(
            f"{video}_{told['qid'].strip()}",
            video,
            find(video),
            told["question"],
            [told[option] for option in _OPTIONS],
            int(answer) if answer else None,
            kind=kind,
            groups=groups(kind),
        )


def finder(path: Path, videos: Path) -> Callable[[str], Path]:
    """Where the video of an id lies. path: of the questions. Raises InputError for a map that can't be read."""
    near = (path.parent, videos, videos.parent)
    found = next((folder / MAP for folder in near if (folder / MAP).is_file()), None)
    expected = 'expected {"video": "folder/video", ...}, or no such file where the videos lie in one folder'
    inner = {} if found is None else document(found, dict[str, str], expected.removeprefix("expected "))
    places = VideoFiles(videos)

    @cache
    def find(video: str) -> Path:
        place = inner.get(video)
        names = [] if place is None else [f"NExTVideo/{place}.mp4", f"{place}.mp4"]
        return places.find(*names, f"NExTVideo/{video}.mp4", f"videos/{video}.mp4", f"{video}.mp4")

    return find


def _read(data: Path, split: str) -> Iterator[Example]:
    path = located(data, [f"{split}.csv"], f"the multi-choice questions of NExT-QA ({split})", FOLDERS)
    yield from distinct(examples(path, data))


BENCHMARK = Benchmark("nextqa", "NExT-QA (multi-choice)", "choice", {"val": 4996, "test": 8564, "train": 34132}, _read)
