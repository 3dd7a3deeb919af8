"""The numbers of an evaluation: what was published and what was answered, made into the parts of its report.

Every published record is in every number unless its answer is hidden; one without an answer is wrong. Nothing here
reads a file or asks a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InputError
from ..core.failures import nameless
from .catalogue import Benchmark
from .example import Example
from .metrics import IntervalEstimate, accuracy, difference, macro_accuracy
from .predictions import Prediction
from .report import (
    MODEL,
    Bin,
    Calibration,
    Condition,
    Difference,
    Letters,
    RecordCounts,
    Score,
    Summary,
)

ABOUT = {
    MODEL: "the aligned model",
    "chance": "picks an option at random",
    "longest": "always the option with the longest text",
    "blind": "the same, every frame's feature zeroed",
    "shuffled_frames": "the same, the frames in random order",
    "single_frame": "the same, the middle frame alone",
    "no_projection": "the same, image features as they are, not projected into text space",
    "centred": "the same, image features moved to the mean of the memory instead of being projected",
    "text": "the same, captions of what happens in place of the frames: what a perfect projection would give",
    "blind_trained": "aligned and asked with every feature zeroed",
    "noise_trained": "aligned with noise on the text features, asked with image features as they are",
    "video_trained": "trained on the image features of as many labelled videos: the ceiling",
}
"""What each condition is, in a few words; of others nothing is said."""
_TIMELESS = ("blind", "blind_trained", "shuffled_frames")
"""Conditions that can't know when something happens."""
BINS = 10
_LENGTH = 200  # characters of a reason
_SQUARE = 1.959964**2  # of the normal distribution's 97.5 % quantile


@dataclass(frozen=True, slots=True)
class _GradedRecords:
    """The records whose answer is public: kinds, groups and the model's credits in one order."""

    examples: list[Example]
    credits: list[float]
    seed: int
    resamples: int

    @property
    def videos(self) -> list[str]:
        return [example.video for example in self.examples]

    def estimate(self, credits: Sequence[float], chosen: Sequence[int] | None = None) -> IntervalEstimate:
        """Of all records, or of those at the places `chosen`."""
        places = range(len(self.examples)) if chosen is None else chosen
        videos = [self.examples[i].video for i in places]
        return widened(accuracy([credits[i] for i in places], videos, seed=self.seed, resamples=self.resamples))

    def difference(self, credits: Sequence[float], chosen: Sequence[int]) -> IntervalEstimate:
        """The model's credits minus others, over the records at the places `chosen`."""
        return difference(
            [self.credits[i] for i in chosen],
            [credits[i] for i in chosen],
            [self.examples[i].video for i in chosen],
            seed=self.seed,
            resamples=self.resamples,
        )

    def parts(self) -> dict[str, dict[str, list[int]]]:
        """Partition -> part -> places of its records; the type first, parts in the order of the records."""
        found: dict[str, dict[str, list[int]]] = {"type": {}}
        for place, example in enumerate(self.examples):
            for name, part in dict.fromkeys([("type", example.kind), *example.groups]):
                found.setdefault(name, {}).setdefault(part, []).append(place)
        return {name: parts for name, parts in found.items() if list(parts) != ["all"]}


def summarise(
    benchmark: Benchmark,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    baselines: Mapping[str, Sequence[Prediction]] | None = None,
    *,
    repeats: Sequence[Sequence[Prediction]] = (),
    split: str | None = None,
    scores: Sequence[Score] = (),
    seed: int = 0,
    resamples: int = 2000,
) -> Summary:
    """Return the numbers of a report.

    predictions: of what was evaluated, one for each example, in any order; baselines: the same of each, by its name.
    Chance and the longest option are computed here. repeats: predictions of the same model trained from other seeds:
    credits are means over all of them; letters, calibration and errors are those of `predictions`. split: to compare
    the number of records with what was published. scores: those of captions, or more numbers about answers. seed,
    resamples: of the bootstrap over videos.

    Raises InputError where predictions and examples don't fit: an id that is missing, unknown or there twice, a right
    answer that isn't the example's, an answer that nobody marked.
    """
    found = matched(examples, predictions, MODEL)
    public = [example for example, counted in zip(examples, _public(examples), strict=True) if counted]
    answers = [found[example.id] for example in public]
    own = [] if benchmark.task == "caption" else [_credit(*pair) for pair in zip(public, answers, strict=True)]
    others = [matched(examples, other, f"{MODEL}, of another seed") for other in repeats]
    marks = [_mean_credit(e, credit, [other[e.id] for other in others]) for e, credit in zip(public, own, strict=False)]
    marked = _GradedRecords(public if marks else [], marks, seed, resamples)
    parts = marked.parts() if marks else {}
    conditions = _conditions(benchmark, marked, baselines or {}, examples)
    asked = public or list(examples)
    return Summary(
        counts=_counts(examples, public, answers),
        scores=_ordered(benchmark, [*_scores(benchmark, marked), *scores]) or (_none(benchmark, bool(public)),),
        breakdowns={
            name: {part: marked.estimate(marks, places) for part, places in inside.items()}
            for name, inside in parts.items()
        },
        conditions=tuple(_condition(name, credits, marked, parts.get("type", {})) for name, credits in conditions),
        differences=tuple(_differences(benchmark, marked, conditions[1:])),
        letters=letters(asked, [found[example.id] for example in asked]) if benchmark.task == "choice" else None,
        calibration=calibration(answers, own) if benchmark.task == "choice" and own else None,
        missing={e.id: found[e.id].error or "" for e in examples if found[e.id].error is not None},
        notes=(*_notes(benchmark, examples, public, split, marked), *_note_repeats(1 + len(repeats))),
    )


def matched(examples: Sequence[Example], predictions: Iterable[Prediction], whose: str) -> dict[str, Prediction]:
    """The prediction of each example by its id. Raises InputError as `summarise` does; whose: said in it."""
    right = {example.id: example.answer for example in examples}
    if len(right) < len(examples):
        twice = Counter(example.id for example in examples).most_common(1)[0][0]
        raise InputError(f"records: two have the id {twice!r}; expected each once. Look at the benchmark's file.")
    found: dict[str, Prediction] = {}
    for prediction in predictions:
        name = prediction.id
        if name not in right or name in found:
            state = "is there twice" if name in found else "is of no published record"
            raise InputError(
                f"predictions of {whose}: {name!r} {state}; expected one for each published record. "
                "Evaluate into an empty folder."
            )
        if prediction.answer not in (None, right[name]):
            raise InputError(
                f"predictions of {whose}: {name!r} says that option {prediction.answer} is right; the record says "
                f"{right[name]}. They are of other files: evaluate into an empty folder."
            )
        found[name] = prediction
    for name in right:
        if name not in found:
            raise InputError(
                f"predictions of {whose}: {len(right) - len(found)} of {len(right)} records have none, first {name!r}. "
                "Run the same command again: it goes on where it stopped."
            )
    return found


def _public(examples: Sequence[Example]) -> list[bool]:
    """Whether each is in the numbers. One that can't be asked as published is, where any answer of the split is public:
    what is wrong with it may be its answer."""
    known = any(not example.hidden for example in examples)
    return [not example.hidden or (known and bool(example.fault)) for example in examples]


def _credit(example: Example, prediction: Prediction) -> float:
    if prediction.error is not None:
        return 0.0
    if prediction.correct is None:
        raise InputError(
            f"prediction of {example.id!r}: has no share of credit, though the right answer is public. "
            "Evaluate into an empty folder."
        )
    return prediction.correct


def _note_repeats(models: int) -> Iterator[str]:
    if models > 1:
        yield (
            f"Shares of right answers are means over {models} models that were trained from other seeds; letters, "
            "calibration and examples are those of the first."
        )


def _mean_credit(example: Example, credit: float, others: Sequence[Prediction]) -> float:
    return sum((credit, *(_credit(example, other) for other in others))) / (1 + len(others))


def averaged(runs: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """Return the predictions of the first run with the mean of all runs' credits. Each has them in the same order."""
    return [
        first.model_copy(update={"correct": sum(o.correct or 0.0 for o in (first, *rest)) / len(runs)})
        if first.correct is not None
        else first
        for first, *rest in zip(*runs, strict=True)
    ]


def _counts(examples: Sequence[Example], public: Sequence[Example], answers: Sequence[Prediction]) -> RecordCounts:
    reasons = Counter(reason(e, p.error) for e, p in zip(public, answers, strict=True) if p.error is not None)
    return RecordCounts(published=len(examples), hidden=len(examples) - len(public), errors=dict(reasons.most_common()))


def reason(example: Example, error: str) -> str:
    """An error without what names the record, so that equal ones can be counted."""
    names = (str(example.path), str(example.path.absolute()), example.path.name, example.video, example.id)
    return nameless(error, names)[:_LENGTH] or "no reason given"


def _scores(benchmark: Benchmark, marked: _GradedRecords) -> Iterator[Score]:
    if not marked.examples:
        return
    # Of open answers the share of credit is the exact match, whatever more their papers report.
    name = "exact match" if benchmark.task == "open" else benchmark.metric
    yield Score(name=name, estimate=marked.estimate(marked.credits))
    if benchmark.macro:
        kinds = [example.kind for example in marked.examples]
        found = macro_accuracy(marked.credits, marked.videos, kinds, seed=marked.seed, resamples=marked.resamples)
        yield Score(name=f"{name}, mean over types", estimate=found)


def _ordered(benchmark: Benchmark, scores: Sequence[Score]) -> tuple[Score, ...]:
    """The number that papers report first, where there is one."""
    first = [s for s in scores if s.estimate is not None and s.name.startswith(benchmark.metric)]
    return (*first[:1], *(score for score in scores if score not in first[:1]))


def _none(benchmark: Benchmark, public: bool) -> Score:
    """The score of a split of which nothing can be said."""
    why = "not computed" if public else "no right answer of this split is public"
    return Score(name=benchmark.metric, estimate=None, note=why)


def _conditions(
    benchmark: Benchmark,
    marked: _GradedRecords,
    baselines: Mapping[str, Sequence[Prediction]],
    examples: Sequence[Example],
) -> list[tuple[str, list[float]]]:
    """Names and credits: the model, then what needs none, then the baselines as they are given."""
    found = {name: matched(examples, predictions, name) for name, predictions in baselines.items()}
    if not marked.examples:
        return []
    result = {MODEL: marked.credits}
    if benchmark.task == "choice":
        result["chance"] = [1 / len(e.options) if e.options else 0.0 for e in marked.examples]
        result["longest"] = [float(longest(e.options) == e.answer and bool(e.options)) for e in marked.examples]
    for name, by_id in found.items():
        if name in result:
            raise InputError(f"baselines: {name!r} is computed by the report itself; expected another name.")
        result[name] = [_credit(e, by_id[e.id]) for e in marked.examples]
    return list(result.items())


def longest(options: Sequence[str]) -> int | None:
    """The place of the longest text, of equals the first; None without options."""
    return max(range(len(options)), key=lambda k: len(options[k]), default=None)


def widened(found: IntervalEstimate) -> IntervalEstimate:
    """An estimate of which all is right, or all wrong, with Wilson's interval over its videos: resampled, equal answers
    stay equal, as if two right ones were as good as two thousand. Others as they are."""
    if found.low < found.high or found.value not in (0, 1):
        return found
    reach = _SQUARE / (found.groups + _SQUARE)
    return found.model_copy(update={"low": 1 - reach} if found.value else {"high": reach})


def _condition(
    name: str, credits: Sequence[float], marked: _GradedRecords, kinds: Mapping[str, list[int]]
) -> Condition:
    return Condition(
        name=name,
        about=ABOUT.get(name, ""),
        accuracy=marked.estimate(credits),
        kinds={kind: marked.estimate(credits, places) for kind, places in kinds.items()},
    )


def _differences(
    benchmark: Benchmark, marked: _GradedRecords, conditions: Sequence[tuple[str, list[float]]]
) -> Iterator[Difference]:
    """The model minus each baseline; against those that see no time also over the kinds about time alone."""
    timed = [place for place, example in enumerate(marked.examples) if example.kind in benchmark.time_kinds]
    for name, credits in conditions:
        yield Difference(name=f"{MODEL} - {name}", estimate=marked.difference(credits, range(len(credits))))
    for name, credits in conditions:
        if timed and name in _TIMELESS:
            found = marked.difference(credits, timed)
            yield Difference(name=f"{MODEL} - {name}", kinds=benchmark.time_kinds, estimate=found)


def letters(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Letters:
    """How often each option was chosen, and how often it is right. predictions: one per example, in the same order."""
    chosen = Counter(p.choice for p in predictions if p.error is None)
    right = Counter(e.answer for e in examples)
    places = range(max((len(e.options) for e in examples), default=0))
    return Letters(chosen=tuple(chosen[k] for k in places), right=tuple(right[k] for k in places))


def calibration(predictions: Sequence[Prediction], credits: Sequence[float]) -> Calibration | None:
    """Whether what is chosen with p per cent is right in p per cent: in `BINS` bins of equal width.

    Of the predictions that chose with a probability; None where there is none.
    """
    sure = [
        (min(max(p.probabilities[p.choice], 0.0), 1.0), credit)
        for p, credit in zip(predictions, credits, strict=True)
        if p.error is None and p.choice is not None and p.choice < len(p.probabilities)
    ]
    if not sure:
        return None
    confidence, right = np.array(sure).T
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(
            low=k / BINS,
            high=(k + 1) / BINS,
            questions=int((place == k).sum()),
            confidence=float(confidence[place == k].mean()),
            accuracy=float(right[place == k].mean()),
        )
        for k in np.unique(place).tolist()
    )
    error = sum(b.questions * abs(b.confidence - b.accuracy) for b in bins) / len(sure)
    return Calibration(error=error, bins=bins)


def _notes(
    benchmark: Benchmark,
    examples: Sequence[Example],
    public: Sequence[Example],
    split: str | None,
    marked: _GradedRecords,
) -> Iterator[str]:
    published = benchmark.splits.get(split) if split is not None else None
    if published is not None and published != len(examples):
        yield (
            f"The split {split} has {published:,} published records, {len(examples):,} were read here: these numbers "
            "are not comparable with published ones."
        )
    if public and len(public) < len(examples):
        yield f"The numbers are of the {len(public):,} of {len(examples):,} records whose right answer is public."
    if len({example.video for example in public}) == 1:
        yield "All of it is about one video: no interval can be had, so it is given as everything possible."
    elif marked.examples:
        yield (
            "Intervals: 95 %, bootstrap over videos; where all is right, or all wrong, Wilson's over the videos, as a "
            "bootstrap has none there."
        )
