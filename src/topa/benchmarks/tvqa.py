"""TVQA: `tvqa_train.jsonl`, `tvqa_val.jsonl`, `tvqa_test_public.jsonl`.

Source: Lei et al., EMNLP 2018; tvqa.cs.unc.edu. Of each line:

    qid         number
    q, a0..a4   texts
    answer_idx  the right option, 0 to 4; the public test split has none
    ts          `"1.2-8.5"`: the seconds that the question is about; `nan` for an end that isn't known
    vid_name    `{vid_name}.mp4` in the folder of videos
    show_name   is the question's kind

Subtitles aren't read: the paper's runs use none. The data set's own form of a video, a folder of frames, isn't either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..tideos.streams import Stream
from .questions import Asked, ask, find


def read(path: Path, videos: Path) -> Iterator[Asked]:
    """The questions of a file. Raises InputError where it isn't such a JSON Lines file."""
    with Stream(path) as stream:
        for item in stream.objects():
            try:
                yield _asked(item, videos)
            except (KeyError, TypeError, ValueError) as error:
                raise stream.bad(
                    f"a line that isn't a question of TVQA ({error!r})", "qid, q, a0 to a4, ts and vid_name"
                ) from error


def _asked(item: dict[str, Any], videos: Path) -> Asked:
    start, _, end = str(item["ts"]).partition("-")
    right = item.get("answer_idx")
    return ask(
        str(item["qid"]),
        find(videos, f"{item['vid_name']}.mp4"),
        str(item["q"]),
        [str(item[f"a{number}"]) for number in range(5)],
        None if right is None else int(right),
        kind=str(item.get("show_name") or "other"),
        start=_seconds(start),
        end=_seconds(end),
    )


def _seconds(text: str) -> float | None:
    """A time stamp; None where it is written as no number."""
    found = float(text)
    return None if math.isnan(found) else found
