"""Scores of captions by the COCO definitions: BLEU-1 to 4, ROUGE-L, CIDEr-D; METEOR and SPICE by the classic toolkit.

Reads the captions that people gave videos and what a model said of each; gives values for all of them together, one
per caption, and intervals. The numbers are those of the classic toolkit (`pycocoevalcap`), from its words on
(`evals.tokenizer_ptb`, or its own).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.rouge import rouge_l_of_words
from .metrics import IntervalEstimate, resampled
from .tokenizer_ptb import tokenise
from .toolkit import CaptionMetric, mean_of, meteor, spice
from .toolkit import words as java_words

ORDERS = (1, 2, 3, 4)
CAPTIONS = "captions.json"
"""The file of an evaluation with the values of each caption: name of the score -> id of the record -> value."""
NAMES = (*(f"BLEU-{order}" for order in ORDERS), "ROUGE-L", "CIDEr-D")
_SIGMA = 6.0  # how fast CIDEr-D falls with a difference in length
_TINY, _SMALL = 1e-15, 1e-9  # the toolkit's, so that nothing is divided by zero

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CaptionScores:
    """Scores as shares: a paper's "CIDEr 40.1" is 0.401 here. CIDEr-D goes up to 10, all others to 1.

    intervals: name to the value of all captions, with its 95 % interval from a bootstrap over videos. BLEU's and
    METEOR's are of summed counts, no means; CIDEr-D's document frequencies stay those of all videos.
    captions: name to one value a video, in the order of `ids`. missing: videos of which nothing was said, counted as
    empty captions. not_computed: metric to the reason. cut_by: who cut
    captions into words.
    """

    ids: tuple[str, ...]
    intervals: dict[str, IntervalEstimate]
    captions: dict[str, Floats]
    missing: tuple[str, ...]
    not_computed: dict[str, str]
    cut_by: str

    def as_json(self) -> dict[str, dict[str, float]]:
        """The values of each caption, as `CAPTIONS` holds them."""
        return {name: dict(zip(self.ids, map(float, part), strict=True)) for name, part in self.captions.items()}


def score_captions(
    references: Mapping[str, Sequence[str]],
    said: Mapping[str, str],
    *,
    java: bool = False,
    seed: int = 0,
    resamples: int = 2000,
) -> CaptionScores:
    """Score what was said of each video of `references`; a video that isn't in `said` has an empty caption.

    CIDEr-D counts in how many videos of `references` a phrase occurs, so a value on a part of a split can't be compared
    with one on all of it. java: words as the classic toolkit cuts them, METEOR and SPICE as well, where `pycocoevalcap`
    and Java are installed.
    Raises InputError where there is no video, a video without a reference, or something said of one that isn't there.
    """
    if not references:
        raise InputError("captions of no videos: expected at least one. Look whether any video was captioned.")
    for video, captions in references.items():
        if isinstance(captions, str) or not captions:
            raise InputError(f"video {video!r} has no list of reference captions; expected one or more in it.")
    if strange := [video for video in said if video not in references]:
        raise InputError(
            f"captions of {len(strange)} videos without references, such as {strange[0]!r}: expected captions of the "
            "videos that are evaluated. Look whether both are of one split."
        )
    answers = [said.get(video, "") for video in references]
    flat = [caption for captions in references.values() for caption in captions] + answers
    by_java = java_words(flat) if java else ""
    words = tokenise(flat) if isinstance(by_java, str) else by_java
    answers = words[len(flat) - len(answers) :]
    ends = np.cumsum([len(captions) for captions in references.values()])
    grouped = [words[end - len(captions) : end] for end, captions in zip(ends, references.values(), strict=True)]
    names, found, not_computed = tuple(references), score_words(grouped, answers), {}
    for name, scorer in (("METEOR", meteor), ("SPICE", spice)):
        result = scorer(grouped, answers) if java else f"{name} is the classic toolkit's own, in Java; ask for it"
        if isinstance(result, str):
            not_computed[name] = result
        else:
            found[name] = result
    intervals = {
        name: resampled(part.statistics, names, part.value, (0.0, part.most), seed=seed, resamples=resamples)
        for name, part in found.items()
    }
    return CaptionScores(
        ids=names,
        intervals=intervals,
        captions={name: part.captions for name, part in found.items()},
        missing=tuple(video for video in references if video not in said),
        not_computed=not_computed,
        cut_by="topa" if isinstance(by_java, str) else "the classic toolkit, in Java",
    )


def score_words(references: Sequence[Sequence[str]], said: Sequence[str]) -> dict[str, CaptionMetric]:
    """The six scores of captions that are words with a space between two already, one of `said` a video.

    This is what the toolkit's scorers are given: `references` has the captions of each video.
    """
    counted = _count(references, said)
    found = _bleu(counted)
    found["ROUGE-L"] = mean_of(_rouge(references, said))
    found["CIDEr-D"] = mean_of(_cider_d(counted), 10.0)
    return found


@dataclass(frozen=True)
class _Ngrams:
    """n-grams of one length. caption, gram, times: how often which n-gram is in which caption, one row for each pair.

    grams: how many there are. said: the rows of what was said, the others are references'. match: of each reference's
    row, the row of `said` that is the same n-gram of the same video, -1 where there is none.
    """

    caption: Ints
    gram: Ints
    times: Ints
    grams: int
    said: slice
    match: Ints


@dataclass(frozen=True)
class _NgramCounts:
    """owner: the number of the video of each caption, references first, then what was said. lengths: in words."""

    videos: int
    owner: Ints
    lengths: Ints
    orders: tuple[_Ngrams, ...]

    @property
    def references(self) -> int:
        return len(self.owner) - self.videos


def _count(references: Sequence[Sequence[str]], said: Sequence[str]) -> _NgramCounts:
    captions = [caption.split() for of_video in references for caption in of_video]
    captions += [caption.split() for caption in said]
    owner = np.repeat(np.arange(len(said)), [len(of_video) for of_video in references])
    owner = np.concatenate([owner, np.arange(len(said))])
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    words = np.fromiter(map(numbers.__getitem__, chain.from_iterable(captions)), np.int64, int(lengths.sum()))
    caption = np.repeat(np.arange(len(captions)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))  # words from this one to the caption's end
    gram, grams, orders = words, len(numbers), []
    kept = np.ones(len(words), dtype=bool)
    for order in ORDERS:
        if order > 1:
            goes_on = left >= order
            # Those of the order before, at the same places, without each caption's last.
            gram = gram[goes_on[kept]] * len(numbers) + words[np.flatnonzero(goes_on) + order - 1]
            known, gram = np.unique(gram, return_inverse=True)
            grams = len(known)
            kept = goes_on
        orders.append(_order(caption[kept], gram, grams, owner, len(captions) - len(said)))
    return _NgramCounts(len(said), owner, lengths, tuple(orders))


def _order(caption: Ints, gram: Ints, grams: int, owner: Ints, references: int) -> _Ngrams:
    pairs, times = np.unique(caption * grams + gram, return_counts=True)
    caption, gram = np.divmod(pairs, max(grams, 1))
    border = int(np.searchsorted(caption, references))
    keys = owner[caption] * grams + gram
    of_references, of_said = keys[:border], keys[border:]  # the latter rise: a video says one caption
    match = np.searchsorted(of_said, of_references)
    found = match < len(of_said)
    found[found] = of_said[match[found]] == of_references[found]
    return _Ngrams(caption, gram, times, grams, slice(border, len(keys)), np.where(found, match, -1))


def _bleu(counted: _NgramCounts) -> dict[str, CaptionMetric]:
    said = counted.lengths[counted.references :]
    statistics: list[Ints | Floats] = [said, _closest(counted)]
    for number, order in enumerate(counted.orders, start=1):
        best = np.zeros(order.said.stop - order.said.start, dtype=np.int64)
        hit = order.match >= 0
        np.maximum.at(best, order.match[hit], order.times[: order.said.start][hit])
        right = np.minimum(best, order.times[order.said])
        videos = order.caption[order.said] - counted.references
        statistics += [_sums(videos, right, counted.videos), np.maximum(said - number + 1, 0)]
    table = np.stack(statistics, axis=1).astype(np.float64)
    return {
        f"BLEU-{order}": CaptionMetric(_bleu_of(table, order), table, partial(_bleu_of, order=order))
        for order in ORDERS
    }


def _closest(counted: _NgramCounts) -> Ints:
    """The length of each video's reference that is nearest to what was said; the shorter of two."""
    lengths, owner = counted.lengths[: counted.references], counted.owner[: counted.references]
    said = counted.lengths[counted.references :]
    step = int(counted.lengths.max(initial=0)) + 1
    nearest = np.full(counted.videos, step * step, dtype=np.int64)
    np.minimum.at(nearest, owner, np.abs(lengths - said[owner]) * step + lengths)
    return nearest % step


def _bleu_of(statistics: Floats, order: int) -> Floats:
    """BLEU of rows of (words said, words of the nearest reference, then right and said n-grams of each order)."""
    said, nearest = statistics[:, 0], statistics[:, 1]
    precision = np.ones(len(statistics))
    for number in range(order):
        precision *= (statistics[:, 2 + 2 * number] + _TINY) / (statistics[:, 3 + 2 * number] + _SMALL)
    ratio = (said + _TINY) / (nearest + _SMALL)
    with np.errstate(over="ignore"):
        penalty = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return np.asarray(precision ** (1 / order) * penalty)


def _rouge(references: Sequence[Sequence[str]], said: Sequence[str]) -> Floats:
    # Cut at every space, as the toolkit does: a caption without words is then one empty word.
    return np.array(
        [
            rouge_l_of_words(caption.split(" "), (other.split(" ") for other in of_video))
            for caption, of_video in zip(said, references, strict=True)
        ]
    )


def _cider_d(counted: _NgramCounts) -> Floats:
    """CIDEr-D, 0 to 10: a penalty for a difference in length, and no more of a word than a reference has."""
    likeness = np.zeros(counted.references)
    for order in counted.orders:
        border = order.said.start
        in_videos = np.sort(counted.owner[order.caption[:border]] * order.grams + order.gram[:border])
        first = np.diff(in_videos, prepend=-1) > 0  # np.unique takes ten times as long for so many different numbers
        frequency = np.bincount(in_videos[first] % max(order.grams, 1), minlength=order.grams)
        weights = order.times * (math.log(counted.videos) - np.log(np.maximum(frequency, 1)))[order.gram]
        norms = np.sqrt(_sums(order.caption, weights**2, len(counted.owner)))
        of_reference, of_said = weights[:border], weights[border:]
        hit = order.match >= 0
        common = np.minimum(of_said[order.match[hit]], of_reference[hit]) * of_reference[hit]
        dots = _sums(order.caption[:border][hit], common, counted.references)
        size = norms[: counted.references] * norms[counted.references :][counted.owner[: counted.references]]
        likeness += np.divide(dots, size, out=dots, where=size != 0)
    # The toolkit takes the number of pairs of words for the length.
    lengths = np.maximum(counted.lengths - 1, 0)
    owner = counted.owner[: counted.references]
    apart = lengths[counted.references :][owner] - lengths[: counted.references]
    likeness *= np.exp(-(apart**2) / (2 * _SIGMA**2))
    each = _sums(owner, likeness, counted.videos) / np.bincount(owner, minlength=counted.videos)
    return np.asarray(10 / len(ORDERS) * each)


def _sums(index: Ints, values: Ints | Floats, size: int) -> Floats:
    return np.bincount(index, values, size).astype(np.float64)  # of nothing it would be whole numbers
