"""TVQA: `tvqa_train.jsonl`, `tvqa_val.jsonl`, `tvqa_test_public.jsonl`.

Source: Lei et al., EMNLP 2018; tvqa.cs.unc.edu (annotations; frames and subtitles after a form is signed, for
research). train 122,039 questions, val 15,253, test 7,623 without answers. Of each line:

    qid         number
    q, a0..a4   texts
    answer_idx  the right option, 0 to 4; the public test split has none
    ts          `"1.2-8.5"`: the seconds that the question is about; `nan` for an end that isn't known
    vid_name    names the video: a folder of frames, three a second, from `00001.jpg` on, or `{vid_name}.mp4`
    show_name   is the question's kind

Frames are looked for as `frames_hq/{show}_frames/`, `frames_fps3_hq/` and in the folder itself; subtitles,
`{vid_name}.srt`, as `tvqa_subtitles/` and `subtitles/`. The paper's runs read no subtitles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, lines, located
from ..published import choice, distinct

FPS = 3.0
"""Frames, and rows of released features, a second."""
_SHOWS = ("castle", "friends", "grey", "house", "met")  # what their clips' names begin with; those of bbt with no name


class _TvqaQuestion(Struct, gc=False):
    qid: int | str
    q: str
    a0: str
    a1: str
    a2: str
    a3: str
    a4: str
    ts: str
    vid_name: str
    answer_idx: int | str | None = None
    show_name: str | None = None


def examples(path: Path, videos: Path) -> Iterator[Example]:
    """The questions of a file. Raises InputError where it isn't such a JSON Lines file."""
    places = VideoFiles(videos)

    @cache
    def found(name: str) -> tuple[Path, Path, float | None]:
        return _places(name, places)

    def build(line: _TvqaQuestion) -> Example:
        start, _, end = line.ts.partition("-")
        video, subtitles, fps = found(line.vid_name)
        return choice(
            str(line.qid),
            line.vid_name,
            video,
            line.q,
            (line.a0, line.a1, line.a2, line.a3, line.a4),
            None if line.answer_idx is None else int(line.answer_idx),
            kind=line.show_name or "other",
            start=float(start),
            end=float(end),
            fps=fps,
            subtitles=subtitles,
        )

    yield from lines(path, _TvqaQuestion, build, "a question of TVQA", "qid, q, a0 to a4, ts and vid_name")


def _places(name: str, places: VideoFiles) -> tuple[Path, Path, float | None]:
    """The video, its subtitles, and the rate of a folder of frames."""
    show = name.partition("_")[0]
    folder = f"{show if show in _SHOWS else 'bbt'}_frames"
    frames = [f"{root}/{name}" for root in (f"frames_hq/{folder}", folder, "frames_fps3_hq", "frames")]
    video = places.find(*frames, name, f"videos/{name}.mp4", f"{name}.mp4")
    subtitles = places.find(*(f"{root}{name}.srt" for root in ("tvqa_subtitles/", "subtitles/", "")))
    return video, subtitles, None if video.suffix == ".mp4" else FPS


def _read(data: Path, split: str) -> Iterator[Example]:
    file = "tvqa_test_public.jsonl" if split == "test" else f"tvqa_{split}.jsonl"
    path = located(data, [file], f"the questions of TVQA ({split})", ("", "tvqa_qa_release", "annotations", "tvqa"))
    yield from distinct(examples(path, data))


def _rows(example: Example, rows: int) -> slice:
    first = 0 if example.start is None else int(example.start * FPS)
    return slice(first, rows if example.end is None else int((example.end + 1) * FPS))


BENCHMARK = Benchmark(
    "tvqa", "TVQA", "choice", {"val": 15253, "train": 122039, "test": 7623}, _read, rows=_rows, subtitles=True
)
