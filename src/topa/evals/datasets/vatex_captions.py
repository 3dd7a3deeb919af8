"""VATEX, English captions: `vatex_validation_v1.0.json`, and the files of the other splits.

Source: Wang et al., ICCV 2019; eric-xw.github.io/vatex-website (annotations under CC BY 4.0, as it says; the videos
are on YouTube). Ten seconds of each, and ten English captions:

    val      vatex_validation_v1.0.json                      3,000 videos
    test     vatex_public_test_english_v1.1.json             6,000
    train    vatex_training_v1.0.json                       25,991
    private  vatex_private_test_without_annotations.json     6,278, whose captions are not published

A list of {videoID: "<youtube id>_<start>_<end>", enCap: texts, chCap: texts}; chCap is not read. A video is
`{videoID}.mp4` in `videos/`, `val/`, `test/`, `train/`, or the folder itself: the ten seconds only, cut out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..catalogue import Benchmark
from ..example import Example
from ..files import VideoFiles, items, located
from ..published import distinct

_FILES = {
    "val": "vatex_validation_v1.0.json",
    "test": "vatex_public_test_english_v1.1.json",
    "train": "vatex_training_v1.0.json",
    "private": "vatex_private_test_without_annotations.json",
}


class _VatexVideo(Struct, gc=False):
    videoID: str  # noqa: N815 (the file's own name)
    enCap: list[str] | None = None  # noqa: N815


def _read(data: Path, split: str) -> Iterator[Example]:
    path = located(data, [_FILES[split]], f"the captions of VATEX ({split})", ("", "annotations", "vatex"))
    videos = VideoFiles(data)

    def build(item: _VatexVideo) -> Example:
        name = item.videoID
        return Example(
            name,
            name,
            videos.find(*(f"{folder}{name}.mp4" for folder in ("videos/", f"{split}/", ""))),
            references=tuple(item.enCap or ()),
        )

    yield from distinct(items(path, _VatexVideo, build, "a video of VATEX", "videoID and enCap"))


BENCHMARK = Benchmark(
    "vatex-captions",
    "VATEX (English captions)",
    "caption",
    {"val": 3000, "test": 6000, "train": 25991, "private": 6278},
    _read,
    metric="CIDEr-D",
)
