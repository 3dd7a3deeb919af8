"""Questions to a library: over all its videos, or about one of them, and not a frame is decoded.

Reads what a library holds (`contents`) and the moments that a search finds, gives `Answer`s that cite what they rest
on.
"""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..core.command import command_line
from ..core.errors import InputError, UsageError
from ..features.relevance import even, query, top_k
from ..features.subtitles import Cue, find_subtitles, read_subtitles
from ..inference.answer import Answer
from ..inference.engine import Topa
from ..inference.footage import PARTS, Footage, FramesBy, Scene, answer_over
from ..inference.requests import check_question
from ..inference.scoring import Protocol, Scores
from ..tideos.tideo import Question
from .contents import Contents, Moment, Video

Candidates = Callable[[Tensor, int], Sequence[Moment]]
"""A search: what is looked for, float32 [D], a unit row of text space, and how many moments at most, best first."""
_KEPT = 16  # videos whose frames stay projected


class Asking:
    """Asks about the videos of a library. search: finds the moments that `ask` reads; `ask_video` needs none."""

    def __init__(self, engine: Topa, contents: Contents, search: Candidates | None = None) -> None:
        self.engine = engine
        self.contents = contents
        self.search = search
        self._kept: OrderedDict[str, Footage] = OrderedDict()

    def ask(
        self,
        question: str,
        choices: Sequence[str] = (),
        *,
        top: int = PARTS,
        subtitles: bool = False,
        protocol: Protocol | None = None,
        max_tokens: int = 40,
    ) -> Answer:
        """Answer a question over the moments that are most like it; `parts` of the answer cites them.

        top: how many moments are read. A moment of fewer frames than the model reads gets its neighbours; one that
        another then overlaps is left out. subtitles: also read what is said in a moment, where
        there are subtitles beside the video. The rest as for `inference.footage.answer_over`. Raises UsageError for
        `top` below 1, InputError where nothing is found, ArtifactMismatch for a library of another encoder.
        """
        check_question(question, choices)
        if self.search is None:
            raise UsageError("ask: found no search; expected one to find moments by. Ask about one video: --video PATH")
        if top < 1:
            raise UsageError(f"ask: found top={top}; expected 1 or more moments to read.")
        asked = query(question, choices, self.engine.encoder.encode_texts)
        found = self.search(asked, top)
        if not found:
            raise InputError(
                f"{self.contents.root}: found no moment in {len(self.contents)} videos; expected one or more to read. "
                "Add videos: topa index VIDEOS --out LIBRARY"
            )
        scenes: list[Scene] = []
        for moment in found:
            footage = self.footage(moment.video)
            start, end = self._frames(footage, moment)
            if all(s.footage is not footage or s.end <= start or end <= s.start for s in scenes):
                likeness = top_k(footage.values(start, end), asked, [(0, end - start)], 1)[0][1]
                cues = self._cues(moment.video) if subtitles else ()
                scenes.append(Scene(footage, start, end, likeness, moment.video.path, cues))
        answer = answer_over(scenes, question, choices, protocol=protocol, max_tokens=max_tokens)
        return replace(answer, frames_by="search")

    def ask_video(
        self,
        video: Video | str | Path,
        question: str,
        choices: Sequence[str] = (),
        *,
        frames_by: FramesBy = "uniform",
        subtitles: bool = False,
        protocol: Protocol | None = None,
        max_tokens: int = 40,
    ) -> Answer:
        """Answer a question about one video of the library, from its features alone. video: itself, or its path, see
        `find`. The rest as for `Footage.ask`. Raises as that and `find` do."""
        own = video if isinstance(video, Video) else self.find(video)
        cues = self._cues(own) if subtitles else ()
        return self.footage(own).ask(
            question, choices, frames_by=frames_by, cues=cues, protocol=protocol, max_tokens=max_tokens
        )

    def choose(
        self, video: Video | str | Path, questions: Sequence[Question], *, protocol: Protocol | None = None
    ) -> list[Scores]:
        """Many questions with options about one video, of which evenly spread frames are read once for all of them.

        Raises InputError for a question without options, and as `find` does.
        """
        footage = self.footage(video if isinstance(video, Video) else self.find(video))
        seen = footage.seen(even(len(footage), self.engine.config.frames))
        return self.engine.choose(seen, questions, protocol=protocol)

    def footage(self, video: Video) -> Footage:
        """All frames of a video that have features. Those of the videos asked about last stay projected."""
        footage = self._kept.pop(video.id, None) or Footage(self.engine, self.contents.features(video))
        self._kept[video.id] = footage
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return footage

    def find(self, path: str | Path) -> Video:
        """A video by its path; see `find`, which raises."""
        return find(self.contents, path)

    def _frames(self, footage: Footage, moment: Moment) -> tuple[int, int]:
        """The first frame of a moment and the one behind it, with neighbours where it has too few for the model."""
        times = footage.image.times
        assert times is not None, "a library's features have times"
        inside = ((times >= moment.start) & (times <= moment.end)).nonzero().flatten()
        best = int((times - (moment.frames[0] if moment.frames else moment.start)).abs().argmin())
        start, end = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (best, best + 1)
        missing = self.engine.config.frames - (end - start)
        if missing > 0:
            start = max(0, min(start - missing // 2, len(footage) - self.engine.config.frames))
            end = min(len(footage), start + self.engine.config.frames)
        return start, end

    def _cues(self, video: Video) -> tuple[Cue, ...]:
        path = find_subtitles(self.contents.file(video))
        return () if path is None else read_subtitles(path)


def find(contents: Contents, path: str | Path) -> Video:
    """A video by its path in the library, by where its file is, or by the end of its path where only one has it.

    Raises InputError for an unknown path, with the nearest known one, or one that several videos have.
    """
    wanted = Path(path)
    for video in contents.videos:
        if Path(video.path) == wanted or contents.file(video).absolute() == wanted.absolute():
            return video
    parts = wanted.parts
    ends = [v for v in contents.videos if parts and Path(v.path).parts[-len(parts) :] == parts]
    if len(ends) == 1:
        return ends[0]
    if ends:
        shown = ", ".join(video.path for video in ends[:3])
        raise InputError(f"{path}: found {len(ends)} videos of that name: {shown}; expected one. Give more of it.")
    near = difflib.get_close_matches(str(path), [video.path for video in contents.videos], 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(
        f"{path}: found no such video among {len(contents)} of the library in {contents.root}; expected "
        f"one of them.{hint} Add it: {command_line('index', path, '--out', 'LIBRARY')}"
    )
