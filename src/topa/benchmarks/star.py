"""STAR: `STAR_train.json`, `STAR_val.json`, `STAR_test.json`.

Source: Wu et al., NeurIPS 2021 Datasets; github.com/csbobby/STAR_Benchmark. A JSON list of gigabytes (with situation
graphs, which are not read), one item in memory at a time. Of each item:

    question_id  `Interaction_T1_13`: its type (Interaction, Sequence, Prediction, Feasibility) stands before the `_`
    question     text
    video_id     `Charades_v1_480/{video_id}.mp4`, or in the folder of videos itself
    start, end   seconds: the question is about this part
    choices      4 of {choice_id, choice}; their order is that of choice_id
    answer       the text of the right choice; the test split has none
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..tideos.streams import Stream
from .questions import Asked, Unfit, ask, find


def read(path: Path, videos: Path) -> Iterator[Asked]:
    """The questions of a file. Raises InputError where it isn't such a JSON file."""
    with Stream(path) as stream:
        for item in stream.members():
            try:
                yield _asked(item, videos)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise stream.bad(
                    f"an item that isn't a question of STAR ({error!r})",
                    "question_id, question, video_id, start, end and choices",
                ) from error


def _asked(item: dict[str, Any], videos: Path) -> Asked:
    name, video = str(item["question_id"]), str(item["video_id"])
    texts = [str(c["choice"]).strip() for c in sorted(item["choices"], key=lambda c: int(c["choice_id"]))]
    right = item.get("answer")
    told = None if right is None else str(right).strip()
    file = find(videos, f"Charades_v1_480/{video}.mp4", f"{video}.mp4")
    if told is not None and told not in texts:
        return Unfit(name, file.name, "the answer is none of the options", told)
    return ask(
        name,
        file,
        str(item["question"]),
        texts,
        None if told is None else texts.index(told),
        kind=name.partition("_")[0],
        start=float(item["start"]),
        end=float(item["end"]),
    )
