"""Scores beyond the share of right answers: of captions, and of open answers where papers report WUPS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..core.artifacts import write_atomically
from .answers import wups
from .captioning import CAPTIONS, NAMES, score_captions
from .catalogue import Benchmark
from .example import Example
from .metrics import accuracy
from .predictions import Prediction
from .report import MODEL, Score
from .wordnet import open_wordnet

THRESHOLDS = (0.9, 0.0)
"""Of WUPS: below it two words count a tenth of their likeness."""


def more_scores(
    benchmark: Benchmark,
    examples: Sequence[Example],
    found: Mapping[str, Sequence[Prediction]],
    *,
    coco: bool = False,
    seed: int = 0,
    out: Path | None = None,
) -> list[Score]:
    """What papers report beside, or instead of, the share of right answers; of records whose answer is public.

    found: predictions by view, in the order of the examples. coco: METEOR and SPICE of captions too, by the classic
    toolkit in Java. out: a folder for the scores of each caption of the model's. Raises InputError where WordNet's
    files are damaged.
    """
    public = [not example.hidden for example in examples]
    asked = [example for example, known in zip(examples, public, strict=True) if known]
    said = {view: [p for p, known in zip(own, public, strict=True) if known] for view, own in found.items()}
    if not asked:
        return []
    if benchmark.task == "caption":
        return list(_captions(benchmark, asked, said, coco, seed, out))
    return list(_wups(asked, said[MODEL], seed)) if benchmark.metric == "WUPS" else []


def _captions(
    benchmark: Benchmark,
    examples: Sequence[Example],
    said: Mapping[str, Sequence[Prediction]],
    coco: bool,
    seed: int,
    out: Path | None,
) -> Iterator[Score]:
    """All metrics of the model, and the main one of each baseline."""
    references = {example.id: example.references for example in examples}
    for view, predictions in said.items():
        texts = {prediction.id: prediction.text for prediction in predictions}
        graded = score_captions(references, texts, java=coco and view == MODEL, seed=seed)
        if view != MODEL:
            name = benchmark.metric
            yield Score(name=f"{name}, {view.replace('_', ' ')}", estimate=graded.intervals[name])
            continue
        if out is not None:
            write_atomically(out / CAPTIONS, json.dumps(graded.as_json()) + "\n")
        for name in dict.fromkeys((*NAMES, *graded.intervals)):
            yield Score(name=name, estimate=graded.intervals[name], note=f"words by {graded.cut_by}")
        for name, why in graded.not_computed.items():
            yield Score(name=name, estimate=None, note=why)


def _wups(examples: Sequence[Example], predictions: Sequence[Prediction], seed: int) -> Iterator[Score]:
    wordnet = open_wordnet()
    for threshold in THRESHOLDS:
        name = f"WUPS@{threshold:g}"
        if isinstance(wordnet, str):
            yield Score(name=name, estimate=None, note=wordnet)
            continue
        likeness = [
            wups(p.text, e.references, wordnet, threshold=threshold, kind=e.kind)
            for e, p in zip(examples, predictions, strict=True)
        ]
        yield Score(name=name, estimate=accuracy(likeness, [e.video for e in examples], seed=seed))
