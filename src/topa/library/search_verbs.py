"""The verbs `search` and `when`: words to moments, in a library or in a video file.

What is wrong with a request is told before torch is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import UsageError
from ..core.printable import Note, Printable
from ..core.verbosity import note
from ..inference.request import check_query
from .library import Library

if TYPE_CHECKING:
    from ..memory.bank import MemoryBank
    from .contents import Contents, Moment
    from .search import Search
    from .verbs import SearchConfig, WhenConfig

_RATE = 4.0  # frames a second of a video that no library holds
_MAX_FRAMES = 1000  # of it
_SIDE = 448  # pixels of their shorter side: encoders look at fewer
_TEMPERATURE = 0.01  # of the projection, for a memory without a model


@dataclass(frozen=True)
class MomentsResult(Printable):
    """Moments that show what a query says, best first. empty: what is said where there are none."""

    query: str
    moments: list[Moment]
    empty: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        moments = [
            {"video": m.video.path, "start": m.start, "end": m.end, "score": m.score, "frames": list(m.frames)}
            for m in self.moments
        ]
        return {"query": self.query, "moments": moments}

    def lines(self) -> Iterator[str | Note]:
        """Yield what people read."""
        if self.empty and not self.moments:
            yield Note(self.empty)
        for moment in self.moments:
            yield f"{moment.score:6.3f}  {moment.start:8.2f} to {moment.end:8.2f} s  {moment.video.path}"


def search(config: SearchConfig) -> MomentsResult:
    """Find moments of a library. Raises as `Library.open` and `library.search.Search` do."""
    check_query(config.query)
    opened = Library.open(config.library)
    from .search import Filter

    where = Filter(config.path, config.after, config.before)
    finder = _finder(opened.contents, config)
    finder.videos(config.path)
    (found,) = finder.moments(opened.towers().encode_texts([config.query]), config.top, where)
    return MomentsResult(config.query, found, "no frame lies between these seconds")


def when(config: WhenConfig) -> MomentsResult:
    """Say when a video file, or each video of a library, shows something. Raises as `search` does."""
    check_query(config.query)
    if not config.video.is_dir():
        if config.path is not None:
            raise UsageError("--path: goes with a library. Leave it out.")
        return MomentsResult(config.query, _in_file(config))
    if config.encoder is not None:
        raise UsageError("--encoder: a library has its own. Leave it out.")
    opened = Library.open(config.video)
    finder = _finder(opened.contents, config)
    videos = finder.videos(config.path)
    words = opened.towers().encode_texts([config.query])[0]
    return MomentsResult(config.query, [moment for own in videos for moment in finder.when(own, words, config.top)])


def _in_file(config: WhenConfig) -> list[Moment]:
    """The moments of a video that no library holds."""
    from ..features.encode import towers
    from ..features.encode_video import encode_video
    from ..features.video import probe
    from .contents import Video
    from .search import moments_of
    from .similarity import DEFAULT, compare, expect_memory

    length = probe(config.video).duration_s
    count = max(1, min(_MAX_FRAMES, round(length * _RATE)))
    memory, saved = _memory(config.model)
    if config.encoder is None and "encoder" not in saved:
        note("the micro world's encoder knows only toys; give --encoder or --model for your own videos")
    expect_memory(way := config.similarity or DEFAULT, memory)
    both = towers(config.encoder or saved.get("encoder") or "microworld/clip")
    features = encode_video(config.video, both, count, short_side=_SIDE).features
    comparison = compare(way, both.identity, features.values, memory, saved.get("temperature", _TEMPERATURE))
    words = both.encode_texts([config.query])[0]
    return moments_of(Video("", str(config.video), length, count), features, words, config.top, comparison)


def _memory(model: str | None) -> tuple[MemoryBank | None, dict[str, Any]]:
    """The memory in a folder, and the configuration beside it where it is that of a model."""
    from ..memory.bank import MemoryBank
    from ..models.saved import fetch

    if model is None:
        return None, {}
    folder = fetch(model)
    memory = MemoryBank.load(folder)
    try:
        return memory, dict(json.loads((folder / "config.json").read_bytes()))
    except (OSError, ValueError):
        return memory, {}


def _finder(contents: Contents, config: SearchConfig | WhenConfig) -> Search:
    from .search import Search
    from .similarity import DEFAULT

    memory, saved = _memory(config.model)
    return Search(contents, config.similarity or DEFAULT, memory, saved.get("temperature", _TEMPERATURE))
