"""Why a video was answered so: the explanation as files, and of videos of which a library has the features.

Reads explanations and pictures; writes `explain.json`, `timeline.png` and `explain.html`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.artifacts import output_folder, write_atomically
from ..core.errors import InputError, UsageError, VideoError
from ..core.thumbnails import thumbnail
from .evidence_page import evidence_page

FILES = ("explain.json", "explain.html", "timeline.png")
"""What `write_evidence` writes."""

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.protocols import Protocol
    from ..inference.engine import Topa
    from ..inference.explain import Explanation
    from .contents import Contents, Video


def explain_indexed(
    contents: Contents,
    video: Video,
    engine: Topa,
    question: str | None = None,
    choices: Sequence[str] = (),
    *,
    protocol: Protocol | None = None,
) -> tuple[Explanation, tuple[Image, ...]]:
    """Explain an answer about a video of a library, from its features; and the pictures of the frames that were read,
    none where its file is gone or can't be read any more. Raises what `explain` raises."""
    from ..inference.explain import explain
    from ..inference.frame_selection import select_frames
    from ..inference.projected_video import ProjectedVideo
    from ..inference.video_inputs import VideoInputs

    # The frames that `LibraryRequests.about` reads by default: it is that answer that is explained.
    inputs = select_frames(ProjectedVideo(engine, contents.features(video)), "uniform")
    assert isinstance(inputs, VideoInputs)
    explanation = explain(engine, inputs, question, choices, protocol=protocol)
    return explanation, _pictures(contents.file(video), [frame.time for frame in explanation.frames])


def _pictures(path: Path, times: Sequence[float | None]) -> tuple[Image, ...]:
    from ..features.video import sample_frames

    try:
        return tuple(
            sample_frames(path, 1, start=time, end=time + 1e-3).frames[0] for time in times if time is not None
        )
    except (InputError, UsageError, VideoError):
        return ()


def write_evidence(
    explanation: Explanation, images: Sequence[Image], out: Path, *, video: str, command: str | None
) -> tuple[Path, str | None]:
    """Write `explain.json`, `explain.html` and `timeline.png` into a folder; gives the path of the page, and why there
    is no timeline, where matplotlib isn't installed.

    images: one per frame of the explanation, or none. video: as the page names it. command: what made it, if known.
    Raises OutputError where `out` can't be written.
    """
    from .evidence_plot import timeline

    folder = output_folder(out, *FILES)
    shown: list[str | None] = [None] * len(explanation.frames)
    if images:
        shown = [thumbnail(image) for image in images]
    write_atomically(folder / "explain.json", json.dumps(explanation.as_json(), indent=1) + "\n")
    write_atomically(folder / "explain.html", evidence_page(explanation, shown, video, command))
    missing = None
    try:
        write_atomically(folder / "timeline.png", timeline(explanation, images))
    except UsageError as error:
        missing = str(error)
    return folder / "explain.html", missing
