"""Two evaluations of the same records beside each other: is one better, and which answers differ?

Reads the folders of two evaluations; gives a `Comparison`, whose numbers are all paired: the same records, and in every
resample the same videos. For captions, CIDEr-D of each video is what is paired.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from ..core.errors import InputError
from .captioning import CAPTIONS
from .metrics import IntervalEstimate, accuracy, difference
from .predictions import NAME, Prediction
from .report import EvaluationReport, verdict_of
from .schema import FrozenModel

_METRIC = "CIDEr-D"
_SHOWN = 3  # records that an error names


class McNemar(FrozenModel):
    """The records by who was right, and McNemar's exact test: the probability that records on which only one was right
    fall as unevenly as this, or more, where both are equally good."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p: FiniteFloat


class PairedScores(FrozenModel):
    """Scores of both, and a minus b. mcnemar: None for captions."""

    a: IntervalEstimate
    b: IntervalEstimate
    difference: IntervalEstimate
    mcnemar: McNemar | None = None


class Flip(FrozenModel):
    """A record that one answered right and the other wrong. by: which one was right. right: its answer; answer: the
    index of the right option, None where there are no options. choices and texts: what either answered; error: why one
    has no answer."""

    id: str
    kind: str
    by: Literal["A", "B"]
    right: str
    answer: int | None
    choice_a: int | None
    choice_b: int | None
    text_a: str
    text_b: str
    error_a: str | None = None
    error_b: str | None = None


class Comparison(FrozenModel):
    """metric: what is compared. overall; kinds: the same of each type of question; flips: in the records' order.
    hidden: records that neither could be marked on, in no number."""

    a: str
    b: str
    benchmark: str
    split: str
    metric: str
    overall: PairedScores
    kinds: dict[str, PairedScores] = Field(default_factory=dict)
    flips: tuple[Flip, ...] = ()
    hidden: int = 0


def compare(a: Path, b: Path, *, seed: int = 0, resamples: int = 2000) -> Comparison:
    """Compare the evaluations in two folders.

    Intervals are of a bootstrap over videos; for McNemar's test half the credit is right.
    Raises InputError where they can't be read, or aren't of the same records of the same benchmark and split.
    """
    ours, theirs = _EvaluationFolder(a), _EvaluationFolder(b)
    _check_same(ours, theirs)
    shared = [name for name in ours.predictions if ours.score(name) is not None]
    if not shared:
        raise InputError(f"{a}: no record could be marked, as the right answers are hidden; expected some to compare.")
    firsts = [ours.predictions[name] for name in shared]
    scores = [(ours.score(name) or 0.0, theirs.score(name) or 0.0) for name in shared]
    videos = [prediction.video or prediction.id for prediction in firsts]
    captions = ours.report.task == "caption"

    def of(rows: Sequence[int]) -> PairedScores:
        one, other = ([scores[row][side] for row in rows] for side in (0, 1))
        return _compared(one, other, [videos[row] for row in rows], captions, seed, resamples)

    kinds = {
        kind: of([row for row, own in enumerate(firsts) if own.kind == kind])
        for kind in sorted({p.kind for p in firsts})
    }
    return Comparison(
        a=str(a),
        b=str(b),
        benchmark=ours.report.benchmark,
        split=ours.report.split,
        metric=_METRIC if captions else "accuracy",
        overall=of(range(len(shared))),
        kinds=kinds if len(kinds) > 1 else {},
        flips=() if captions else tuple(_flips(firsts, [theirs.predictions[name] for name in shared])),
        hidden=len(ours.predictions) - len(shared),
    )


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """McNemar's exact test of who was right on the same records, two-sided: no assumption but that records are apart.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions".
    """
    table = [[0, 0], [0, 0]]
    for one, other in zip(a, b, strict=True):
        table[one][other] += 1
    only_a, only_b = table[True][False], table[False][True]
    apart = only_a + only_b
    # Whole numbers, which are exact for any number of records: of `apart`, in how many ways at most the fewer fall so.
    ways = tail = 1
    for count in range(min(only_a, only_b)):
        ways = ways * (apart - count) // (count + 1)
        tail += ways
    p = min(1.0, 2 * tail / 2**apart)
    return McNemar(both=table[True][True], only_a=only_a, only_b=only_b, neither=table[False][False], p=p)


class _EvaluationFolder:
    """What lies in the folder of an evaluation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.report = EvaluationReport.model_validate_json(_read(folder / "report.json"))
        except ValidationError as error:
            raise _unreadable(folder / "report.json", error) from error
        self.predictions: dict[str, Prediction] = {}
        # Only a newline ends a line: answers may hold what else ends lines in Python.
        for number, line in enumerate(_read(folder / NAME).rstrip(b"\n").split(b"\n"), start=1):
            try:
                prediction = Prediction.model_validate_json(line)
            except ValidationError as error:
                raise _unreadable(f"{folder / NAME}:{number}", error) from error
            self.predictions[prediction.id] = prediction
        self._captions: dict[str, float] = {}
        if self.report.task == "caption":
            try:
                told = json.loads(_read(folder / CAPTIONS)).get(_METRIC)
                self._captions = TypeAdapter(dict[str, float]).validate_python(told)
            except (ValueError, AttributeError) as error:
                raise _unreadable(folder / CAPTIONS, error) from error

    def score(self, record: str) -> float | None:
        """Of a caption CIDEr-D, else the credit; None where it can't be marked."""
        return self._captions.get(record) if self.report.task == "caption" else self.predictions[record].correct


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}). Expected the folder of a finished evaluation. Give one that "
            "topa evaluate wrote."
        ) from error


def _unreadable(where: Path | str, error: Exception) -> InputError:
    first = error.errors()[0] if isinstance(error, ValidationError) else None
    told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
    return InputError(f"{where}: {told}. Expected what topa evaluate writes. Evaluate again into another folder.")


def _check_same(a: _EvaluationFolder, b: _EvaluationFolder) -> None:
    for name in ("benchmark", "split", "task"):
        one, other = getattr(a.report, name), getattr(b.report, name)
        if one != other:
            raise InputError(
                f"{a.folder} is of the {name} {one!r}, {b.folder} of {other!r}: expected two evaluations of the "
                "same records."
            )
    for one, other in ((a, b), (b, a)):
        if missing := [name for name in one.predictions if name not in other.predictions]:
            named = ", ".join(map(repr, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
            raise InputError(
                f"{other.folder} has no answers to {len(missing):,} records of {one.folder}: {named}. Expected the "
                "same records in both. Evaluate both on the whole split, or with the same --limit and --seed."
            )
    for name, prediction in a.predictions.items():
        other_one = b.predictions[name]
        for field in ("answer", "video", "kind"):
            if getattr(prediction, field) != getattr(other_one, field):
                raise InputError(
                    f"record {name!r}: its {field} is {getattr(prediction, field)!r} in {a.folder} and "
                    f"{getattr(other_one, field)!r} in {b.folder}. Expected the same files of the benchmark. Evaluate "
                    "again."
                )
        if (a.score(name) is None) != (b.score(name) is None):
            unmarked = a if a.score(name) is None else b
            raise InputError(
                f"record {name!r} is marked in one of both only, not in {unmarked.folder}. Evaluate it again."
            )


def _compared(
    a: Sequence[float], b: Sequence[float], videos: Sequence[str], captions: bool, seed: int, resamples: int
) -> PairedScores:
    most = 10.0 if captions else 1.0  # shares are what the metrics take
    one, other = [score / most for score in a], [score / most for score in b]
    estimates = [
        accuracy(one, videos, seed=seed, resamples=resamples),
        accuracy(other, videos, seed=seed, resamples=resamples),
        difference(one, other, videos, seed=seed, resamples=resamples),
    ]
    scaled = [
        estimate.model_copy(update={name: most * getattr(estimate, name) for name in ("value", "low", "high")})
        for estimate in estimates
    ]
    test = None if captions else mcnemar(*([verdict_of(score, None) == "right" for score in side] for side in (a, b)))
    return PairedScores(a=scaled[0], b=scaled[1], difference=scaled[2], mcnemar=test)


def _flips(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> Iterator[Flip]:
    for one, other in zip(ours, theirs, strict=True):
        right = [verdict_of(prediction.correct, None) == "right" for prediction in (one, other)]
        if right[0] == right[1]:
            continue
        yield Flip(
            id=one.id,
            kind=one.kind,
            by="A" if right[0] else "B",
            right=(one if right[0] else other).text,
            answer=one.answer,
            choice_a=one.choice,
            choice_b=other.choice,
            text_a=one.text,
            text_b=other.text,
            error_a=one.error,
            error_b=other.error,
        )
