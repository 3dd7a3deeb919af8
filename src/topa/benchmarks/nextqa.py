"""NExT-QA, multiple choice: `train.csv`, `val.csv`, `test.csv`.

Source: Xiao et al., CVPR 2021; github.com/doc-doc/NExT-QA (the multi-choice annotations). Columns:

    video            the video's id
    question, a0..a4 texts
    answer           the right option, 0 to 4
    qid              numbers the questions of a video: `{video}_{qid}` is unique
    type             CW, CH (causal), TN, TC, TP (temporal), DC, DL, DO (descriptive)
    frame_count, width, height  are not read

`map_vid_vidorID.json` says where a video lies, as `{"4010069381": "1009/4010069381"}`. It is looked for beside the
questions, in the folder of videos and beside that; a video is then `NExTVideo/1009/4010069381.mp4`, the same without
`NExTVideo`, or `4010069381.mp4`, whichever is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import InputError
from ..tideos.streams import Stream
from .questions import Asked, ask, find

MAP = "map_vid_vidorID.json"
_OPTIONS = tuple(f"a{number}" for number in range(5))
_COLUMNS = ("video", "question", "answer", "qid", "type", *_OPTIONS)


def read(path: Path, videos: Path) -> Iterator[Asked]:
    """The questions of a file. Raises InputError where it isn't such a CSV file."""
    places = _places(path, videos)
    with Stream(path) as stream:
        rows = stream.rows()
        header = [name.strip() for name in next(rows, [])]
        if missing := [name for name in _COLUMNS if name not in header]:
            raise stream.bad(f"no column {', '.join(missing)}", f"the columns {', '.join(_COLUMNS)}")
        for row in rows:
            told = dict(zip(header, row, strict=True))
            answer = told["answer"].strip()
            if answer and not answer.isdecimal():
                raise stream.bad(f"the answer {answer!r}", "a number from 0 to 4")
            video = told["video"].strip()
            inner = places.get(video)
            names = [] if inner is None else [f"NExTVideo/{inner}.mp4", f"{inner}.mp4"]
            yield ask(
                f"{video}_{told['qid'].strip()}",
                find(videos, *names, f"{video}.mp4"),
                told["question"],
                [told[option] for option in _OPTIONS],
                int(answer) if answer else None,
                kind=told["type"].strip() or "other",
            )


def _places(path: Path, videos: Path) -> dict[str, str]:
    """Video ids to files without their ending; none where there is no map."""
    found = next((f / MAP for f in (path.parent, videos, videos.parent) if (f / MAP).is_file()), None)
    if found is None:
        return {}
    try:
        return {str(video): str(place) for video, place in dict(json.loads(found.read_bytes())).items()}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f'{found}: can\'t be read ({error}); expected {{"video": "folder/video", ...}}. Download it again, or '
            "remove it where the videos lie in one folder."
        ) from error
