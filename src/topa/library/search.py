"""Search: words to ranked moments of a library's videos, in one exact pass over all vectors.

Reads `Contents`; nothing is kept beside it that could grow stale. A million frames of width 768 take a fraction of a
second (docs/log.md), so there is no approximate index.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import ArtifactMismatch, InputError, UsageError
from ..features.frames import FrameFeatures
from ..memory.bank import MemoryBank
from .contents import Contents, Moment, Video
from .moments import Rule, TimeSpan, segments
from .similarity import DEFAULT, FrameScorer, Similarity, compare

RULE = Rule(share=0.85, gap=1.0)
"""Of moments in a library, above what its frames score on average; chosen on the micro world."""
ALONE = Rule(share=0.6, gap=1.0)
"""Of moments in a video by itself, above what its own frames score on average; chosen on the micro world."""
FEWEST = 30
"""Videos that a library needs, so that its average says what an unrelated frame scores."""
_CHUNK = 2048  # rows in float32 at a time: they stay in a processor's cache
_SAMPLE = 1 << 12  # rows that the library's average is taken from
_QUERIES = 256  # in one pass
_KEPT = 1 << 14  # rows of candidates, made ready, that the queries of a pass share
_CANDIDATES = 64  # videos, at least, that are projected


@dataclass(frozen=True, slots=True)
class Filter:
    """What to search in. path: a glob that the video's path must match, such as "kitchen/*.mp4"; * takes / as well.
    after, before: seconds of a video between which its frames must lie."""

    path: str | None = None
    after: float | None = None
    before: float | None = None

    def __post_init__(self) -> None:
        if self.after is not None and self.before is not None and self.after > self.before:
            raise UsageError(
                f"search: found after={self.after:g}, before={self.before:g}; expected after below before."
            )

    def times(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which frames may be found."""
        wanted = np.ones(len(times), bool)
        if self.after is not None:
            wanted &= times >= self.after
        if self.before is not None:
            wanted &= times <= self.before
        return wanted


class Search:
    """Search in a library; made once, asked often.

    memory: of the library's encoder, for "centred" and "projected". temperature: of the projection. "projected" takes
    the videos with the best raw cosine, 64 or five times `top`, and ranks their moments by the projection.
    Raises as `similarity.compare` does, InputError for a library without a frame.
    """

    def __init__(
        self,
        contents: Contents,
        similarity: Similarity = DEFAULT,
        memory: MemoryBank | None = None,
        temperature: float = 0.01,
    ) -> None:
        self.contents = contents
        self._parts = list(contents.rows())
        self._places: dict[int, tuple[int, int, int]] = {}
        for number, part in enumerate(self._parts):
            firsts = _firsts(part.video)
            for start, end in zip(firsts, [*firsts[1:], len(part.video)], strict=True):
                self._places[int(part.video[start])] = number, start, end
        self._places.pop(-1, None)
        if not self._places:
            raise InputError(f"{contents.root}: found a library without a video; expected one or more. Index some.")
        # Of equal files the contents name one as the owner of the rows.
        self._copies: dict[str, list[Video]] = {}
        for video in contents.videos:
            self._copies.setdefault(video.id, []).append(video)
        some = self._sample()
        self._fine = compare(similarity, contents.encoder, some, memory, temperature)
        self._fast = FrameScorer("raw") if similarity == "projected" else self._fine
        # The average score of any query is its product with one vector.
        self._average = None if len(self._places) < FEWEST else self._fine.look(some.float()).mean(dim=0)

    def moments(
        self, queries: Tensor, top: int = 10, where: Filter | None = None, rule: Rule = RULE
    ) -> list[list[Moment]]:
        """The best moments for each query, best first, no two overlapping; all queries in one pass.

        queries: float [Q, D] unit rows of text space. The score is that of a moment's best frame; a video has several
        moments where frames apart from each other score nearly as high as its best one (see `moments.Rule`; what a
        frame scores on average in the library is the floor, or in the video for a library of less than 30).
        Raises UsageError for an impossible `top`, ArtifactMismatch for queries of another width, InputError where no
        path matches or rows are damaged.
        """
        if top < 1:
            raise UsageError(f"search: found top={top}; expected 1 or more.")
        _expect(queries, self.contents)
        where = where or Filter()
        shown = self._shown(where)
        found: list[list[Moment]] = []
        for some in torch.split(queries.float(), _QUERIES):
            peaks = self._peaks(some, shown, where)
            floors = self._floors(some)
            looked: dict[int, Tensor] = {}
            for query, own, floor in zip(some, peaks, floors, strict=True):
                found.append(self._ranked(query[None], own, floor, shown, top, where, rule, looked))
        return found

    def when(self, video: Video, query: Tensor, top: int = 3, rule: Rule = ALONE) -> list[Moment]:
        """When a video of the library shows what a query says: its moments, best first. query: float [D], as above."""
        return moments_of(video, self.contents.features(video), query, top, self._fine, rule)

    def videos(self, path: str | None = None) -> list[Video]:
        """Those whose path matches a glob, as `Filter` has it. Raises InputError where none does."""
        found = [video for video in self.contents.videos if path is None or fnmatchcase(video.path, path)]
        if not found:
            raise self._no_path(path)
        return found

    def _shown(self, where: Filter) -> dict[int, Video]:
        """By the number of the rows' owner, the video to name: the first of equal files whose path matches."""
        shown = {}
        for number in self._places:
            for video in self._copies[self.contents.videos[number].id]:
                if where.path is None or fnmatchcase(video.path, where.path):
                    shown[number] = video
                    break
        if not shown:
            raise self._no_path(where.path)
        return shown

    def _no_path(self, path: str | None) -> InputError:
        return InputError(
            f"{self.contents.root}: found no path that matches {path!r} among {len(self.contents)} videos, "
            f"e.g. {self.contents.videos[0].path!r}. Give another --path."
        )

    def _peaks(self, queries: Tensor, shown: dict[int, Video], where: Filter) -> NDArray[np.float32]:
        """The best score of each video's frames, float32 [Q, V]; -inf where there is none."""
        ready = self._fast.queries(queries)
        allowed = np.zeros(len(self.contents) + 1, bool)  # the last is for rows of no video, -1
        allowed[list(shown)] = True
        peaks = np.full((len(queries), len(allowed)), -np.inf, np.float32)
        rows = torch.empty(_CHUNK, self.contents.width)
        for part in self._parts:
            wanted = allowed[part.video] & where.times(part.times)
            stored = torch.from_numpy(part.values)
            for start in range(0, len(wanted), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                own = wanted[chunk]
                if not own.any():
                    continue
                scores = self._fast.scores(ready, rows[: len(own)].copy_(stored[chunk])).numpy()
                if not own.all():
                    scores[:, ~own] = -np.inf
                firsts = _firsts(part.video[chunk])
                owners = part.video[chunk][firsts]
                peaks[:, owners] = np.maximum(peaks[:, owners], np.maximum.reduceat(scores, firsts, axis=1))
        if np.isnan(peaks).any():
            number = int(np.flatnonzero(np.isnan(peaks).any(axis=0))[0])
            raise InputError(
                f"{self.contents.videos[number].path}: its vectors hold NaN; expected unit rows. Index it again."
            )
        return peaks[:, :-1]

    def _ranked(
        self,
        query: Tensor,
        peaks: NDArray[np.float32],
        floor: float | None,
        shown: dict[int, Video],
        top: int,
        where: Filter,
        rule: Rule,
        looked: dict[int, Tensor],
    ) -> list[Moment]:
        """No moment among the `top` is of a video beyond the `top` with the best frames: theirs come before it."""
        many = top if self._fine.memory is None else max(5 * top, _CANDIDATES)
        order = np.argsort(-peaks, kind="stable")[:many]
        ready = self._fine.queries(query)
        found = []
        for number in order[np.isfinite(peaks[order])].tolist():
            part, start, end = self._places[number]
            times = self._parts[part].times[start:end]
            seen = looked.get(number)
            if seen is None:
                seen = self._fine.look(torch.from_numpy(self._parts[part].values[start:end]).float())
                if sum(map(len, looked.values())) + len(seen) <= _KEPT:
                    looked[number] = seen
            scores = (seen @ ready[0]).numpy()
            lowest = float(scores.mean()) if floor is None else floor
            scores[~where.times(times)] = -np.inf
            video = shown[number]
            own = segments(scores, times, video.duration, lowest, ALONE if floor is None and rule is RULE else rule)
            found += [_moment(video, segment, times) for segment in own]
        return sorted(found, key=lambda moment: (-moment.score, moment.video.path, moment.start))[:top]

    def _floors(self, queries: Tensor) -> list[float] | list[None]:
        """What a frame of the library scores on average, for each query; None where it is too small to say."""
        if self._average is None:
            return [None] * len(queries)
        return (self._fine.queries(queries) @ self._average).tolist()

    def _sample(self) -> Tensor:
        """Rows of all of the library, evenly spread, float16 [N, D]."""
        step = max(1, sum(len(part.video) for part in self._parts) // _SAMPLE)
        return torch.cat([torch.from_numpy(part.values[::step][part.video[::step] >= 0]) for part in self._parts])


def when(
    features: FrameFeatures,
    query: Tensor,
    duration: float,
    top: int = 3,
    *,
    rule: Rule = ALONE,
    comparison: FrameScorer | None = None,
) -> list[TimeSpan]:
    """When a video shows what a query says: intervals with scores, best first, no two overlapping.

    features: its frames in image space, with times. query: float [D], a unit row of text space. duration: seconds.
    The floor of the rule is what the video's own frames score on average. comparison: how frames are compared with
    words, by default by their cosine; "projected" goes by what they are read as.
    Raises UsageError for an impossible `top`, ArtifactMismatch for features that aren't of image space or of another
    width, InputError for frames without times.
    """
    if top < 1:
        raise UsageError(f"when: found top={top}; expected 1 or more.")
    if features.space != "image" or query.shape != (features.width,):
        raise ArtifactMismatch(
            f"when: found {features.space} features {features.width} wide and a query {tuple(query.shape)}; expected "
            "image features and a query of their width. Encode both with one encoder."
        )
    comparison = comparison or FrameScorer("raw")
    times = _times(features)
    scores = comparison.scores(comparison.queries(query.float()[None]), features.values[features.valid])[0].numpy()
    return segments(scores, times, duration, float(scores.mean()), rule)[:top]


def moments_of(
    video: Video, features: FrameFeatures, query: Tensor, top: int, comparison: FrameScorer, rule: Rule = ALONE
) -> list[Moment]:
    """What `when` finds, as moments of a video. Raises as `when` does."""
    found = when(features, query, video.duration, top, rule=rule, comparison=comparison)
    return [_moment(video, segment, _times(features)) for segment in found]


def _times(features: FrameFeatures) -> NDArray[np.float64]:
    if features.times is None:
        raise InputError("when: found frames without times; expected those of a video. Encode it from its file.")
    return features.times[features.valid].numpy()


def _moment(video: Video, segment: TimeSpan, times: NDArray[np.float64]) -> Moment:
    return Moment(video, segment.start, segment.end, segment.score, tuple(times[list(segment.frames)].tolist()))


def _firsts(owners: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where runs of equal owners begin."""
    return np.flatnonzero(np.concatenate([[True], np.diff(owners) != 0]))


def _expect(queries: Tensor, contents: Contents) -> None:
    if queries.ndim != 2 or queries.shape[1] != contents.width:
        raise ArtifactMismatch(
            f"{contents.root}: found queries {tuple(queries.shape)}; expected [Q, {contents.width}], of "
            f"{contents.encoder}. Encode them with the library's encoder."
        )
