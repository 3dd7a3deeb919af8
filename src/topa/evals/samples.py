"""The records that a report shows: drawn over all types and verdicts, with their frames and how these were read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..core.errors import InputError
from ..core.thumbnails import SIDE, thumbnail
from ..features.decoding import decoders
from ..features.frames import FrameFeatures
from ..inference.engine import Topa
from .example import Example
from .predictions import Prediction
from .report import MODEL, FrameView, ReportSample, Verdict, verdict_of
from .summary import matched
from .watching import Videos, Watching, clip_of


def samples(
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    engine: Topa,
    watching: Watching,
    out: Path,
    *,
    seed: int,
    workers: int,
) -> Iterator[ReportSample]:
    """Yield records for the page, with the frames that the model read and the captions it read them as.

    out: the folder of the report; videos below it can be played on its page. workers: processes that decode.
    """
    wanted = set(examples_to_show(examples, predictions, seed=seed))
    chosen = [(e, p) for e, p in zip(examples, predictions, strict=True) if e.id in wanted]
    whole = [e for e, p in chosen if p.error is None]
    watched = next(watching.watch([whole])) if whole else {}
    pictures: dict[str, list[str]] = {}
    if isinstance(watching, Videos):
        clips = {clip.id: clip for clip in (clip_of(e, watching.data) for e in whole)}
        with decoders(workers) as pool:
            for clip, decoding in pool.ahead(clips.values(), watching.frames, SIDE):
                try:
                    pictures[clip.id] = [thumbnail(picture) for picture in decoding.result().frames]
                except InputError:  # the file has gone since; the features are still there
                    continue
    for example, prediction in chosen:
        name = watching.clip(example)
        features = watched.get(name)
        frames = _frames(engine, features, pictures.get(name)) if isinstance(features, FrameFeatures) else []
        yield sample(example, prediction, frames, out)


def _frames(engine: Topa, features: FrameFeatures, pictures: list[str] | None) -> list[FrameView]:
    times: Sequence[float | None] = [None] * len(features) if features.times is None else features.times.tolist()
    evidence = engine.read(features)
    read_as = [(e.captions, e.weights) for e in evidence] or [((), ())] * len(features)
    images: Sequence[str | None] = pictures or [None] * len(features)
    return [
        FrameView(time=time, image=image, captions=captions, weights=weights)
        for time, image, (captions, weights), there in zip(times, images, read_as, features.valid.tolist(), strict=True)
        if there
    ]


def sample(
    example: Example, prediction: Prediction, frames: Sequence[FrameView] = (), out: Path | None = None
) -> ReportSample:
    """Return a record as the page shows it. out: the folder of the report, below which videos can be played."""
    below = out is not None and example.path.is_file() and example.path.is_relative_to(out)
    return ReportSample(
        id=example.id,
        video=example.video,
        file=example.path.relative_to(out).as_posix() if out is not None and below else None,
        description=example.description if below else "",
        kind=example.kind,
        question=example.question,
        options=example.options,
        probabilities=prediction.probabilities,
        answer=example.answer,
        choice=prediction.choice,
        text=prediction.text,
        references=example.references,
        credit=prediction.correct,
        error=prediction.error,
        frames=tuple(frames),
    )


def examples_to_show(
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    *,
    right: int = 24,
    wrong: int = 24,
    errors: int = 6,
    seed: int = 0,
) -> tuple[str, ...]:
    """Return the ids of records for the page, in the order of the benchmark: drawn by `seed`, of all types.

    predictions: one for each example, in any order. right, wrong, errors: at most so many of each; wrong are those that
    were answered, errors those that were not. What nobody marked, captions and hidden answers, takes the places of
    right and wrong. The same records and verdicts give the same ids.
    """
    found = matched(examples, predictions, MODEL)
    by_verdict: dict[Verdict, dict[str, list[str]]] = {}
    for example in examples:
        prediction = found[example.id]
        kinds = by_verdict.setdefault(verdict_of(prediction.correct, prediction.error), {})
        kinds.setdefault(example.kind, []).append(example.id)
    rng = random.Random(f"examples {seed}")
    taken: set[str] = set()
    wanted: dict[Verdict, int] = {"right": right, "wrong": wrong, "error": errors, "unmarked": right + wrong}
    for verdict, number in wanted.items():
        taken.update(_spread(by_verdict.get(verdict, {}), number, rng))
    return tuple(example.id for example in examples if example.id in taken)


def _spread(kinds: Mapping[str, list[str]], number: int, rng: random.Random) -> list[str]:
    """So many ids: one of each type in turn, types and ids in random order."""
    queues = [rng.sample(kinds[kind], len(kinds[kind])) for kind in rng.sample(sorted(kinds), len(kinds))]
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    return turns[:number]
