"""MSR-VTT, captions: `test_videodatainfo.json`, `train_val_videodatainfo.json`, or all in `MSRVTT_data.json`.

Source: Xu et al., CVPR 2016. For research; the videos were found on the web and belong to their owners. test 2,990
videos, val 497, train 6,513; 20 captions of each.

    videos      a list of {video_id: "video7010", category, split, ...}
    sentences   a list of {video_id, caption, ...}

An example is a video; its references are its captions in the order of the file. A file whose videos name splits
("validate" among them) gives those of the one asked for. Videos are `TestVideo/`, `TrainValVideo/`, `videos/all/` or
`videos/` with `{video_id}.mp4` in them, or the folder itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, document, located
from ..published import distinct

_WHOLE = ("MSRVTT_data.json", "MSR_VTT.json", "videodatainfo_2017.json")
_CALLED = {"test": ("test",), "val": ("val", "validate", "validation"), "train": ("train",)}


class _MsrvttVideo(Struct, gc=False):
    video_id: str
    category: int | str | None = None
    split: str | None = None


class _Sentence(Struct, gc=False):
    video_id: str
    caption: str


class _CaptionFile(Struct):
    videos: list[_MsrvttVideo]
    sentences: list[_Sentence]


def _read(data: Path, split: str) -> Iterator[Example]:
    names = ("test_videodatainfo.json" if split == "test" else "train_val_videodatainfo.json", *_WHOLE)
    path = located(data, names, f"the captions of MSR-VTT ({split})", ("", "annotation", "annotations", "msrvtt"))
    yield from distinct(_examples(path, VideoFiles(data), split))


def _examples(path: Path, videos: VideoFiles, split: str) -> Iterator[Example]:
    found: _CaptionFile = document(
        path, _CaptionFile, '{"videos": [{video_id, ...}], "sentences": [{video_id, caption, ...}]}'
    )
    captions: dict[str, list[str]] = defaultdict(list)
    for sentence in found.sentences:
        captions[sentence.video_id].append(sentence.caption)
    for video in found.videos:
        if video.split is not None and video.split not in _CALLED[split]:
            continue
        name = video.video_id
        folders = ("TestVideo/", "TrainValVideo/", "videos/all/", "videos/", "")
        yield Example(
            name,
            name,
            videos.find(*(f"{folder}{name}.mp4" for folder in folders)),
            references=tuple(captions[name]),
            groups=(("category", str(video.category)),) if video.category is not None else (),
        )


BENCHMARK = Benchmark(
    "msrvtt-captions",
    "MSR-VTT (captions)",
    "caption",
    {"test": 2990, "val": 497, "train": 6513},
    _read,
    metric="CIDEr-D",
)
