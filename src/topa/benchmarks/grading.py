"""Scores beyond the share of right answers: of captions, and of open answers where a benchmark's papers report WUPS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.artifacts import write_atomically
from .catalogue import Benchmark
from .evaluation import MODEL, Score
from .example import Example
from .predictions import Prediction


def more_scores(
    benchmark: Benchmark,
    examples: Sequence[Example],
    found: Mapping[str, Sequence[Prediction]],
    *,
    coco: bool = False,
    seed: int = 0,
    out: Path | None = None,
) -> list[Score]:
    """What papers report of a caption benchmark, of the model and, by its main metric, of each baseline.

    found: predictions by view, in the order of the examples. coco: METEOR and SPICE too.
    out: a folder for the model's scores of each caption.
    """
    if benchmark.task != "caption":
        return []
    from .captioning import CAPTIONS, NAMES, score_captions

    references = {example.id: example.references for example in examples if not example.hidden}
    if not references:
        return []
    scores = []
    for view, predictions in found.items():
        said = {p.id: p.text for p in predictions}
        graded = score_captions(references, said, java=coco and view == MODEL, seed=seed)
        if view != MODEL:
            name = benchmark.metric
            scores.append(Score(name=f"{name}, {view.replace('_', ' ')}", estimate=graded.intervals[name]))
            continue
        if out is not None:
            write_atomically(out / CAPTIONS, json.dumps(graded.as_json()) + "\n")
        names = [benchmark.metric, *(name for name in NAMES if name != benchmark.metric)]
        scores += [Score(name=name, estimate=graded.intervals[name]) for name in names]
        scores += [Score(name=n, estimate=e) for n, e in graded.intervals.items() if n not in names]
        scores += [Score(name=n, estimate=None, note=why) for n, why in graded.not_computed.items()]
    return scores
