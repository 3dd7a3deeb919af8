"""Clean Tideos for training: remove unfit ones and duplicates, balance the answers, and measure answer leakage.

One Tideo is in memory at a time; the index of duplicates is a temporary file (`topa.tideos.duplicates`).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from .drop_counts import DropCounts
from .duplicates import DuplicateIndex
from .options import keeps_order, place_answer
from .tideo import Question, Tideo

_WORD = re.compile(r"\w+")
_SPACED = {code: chr(code).lower() if _WORD.match(chr(code)) else " " for code in range(128)}


class Checks(BaseModel):
    """The requirements for a Tideo.

    near: Jaccard similarity of word triples, estimated by MinHash, from which two Tideos are near duplicates; 1 finds
    exact ones only. permutations: of MinHash; the standard error is about 1 / sqrt(permutations). frames,
    caption_words, description_words: (minimum, maximum). latin: minimum share of a-z among all letters, a simple proxy
    for English; 0 allows every script.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    near: float = Field(0.8, gt=0, le=1)
    permutations: int = Field(128, ge=16)
    frames: tuple[int, int] = (1, 64)
    caption_words: tuple[int, int] = (1, 120)
    description_words: tuple[int, int] = (3, 600)
    latin: float = Field(0.9, ge=0, le=1)


class Leakage(BaseModel):
    """Accuracy of answering without the video; ties count in proportion.

    questions: number of questions with options and a known answer. chance: by guessing. longest: by the longest option.
    overlap: by the option that shares most words with the question.
    """

    model_config = ConfigDict(frozen=True)

    questions: int
    chance: float
    longest: float
    overlap: float


class CleaningReport(BaseModel):
    """The result of cleaning.

    read, kept: number of Tideos. dropped: count and example ids by reason. before, after: right answers by letter,
    before and after balancing. ordered: number of questions whose options keep their order.
    """

    model_config = ConfigDict(frozen=True)

    read: int
    kept: int
    dropped: dict[str, dict[str, Any]]
    before: dict[str, int]
    after: dict[str, int]
    ordered: int
    leakage: Leakage


class CleanTideo(NamedTuple):
    """A Tideo that passed, with balanced answers, and the case-folded words of its texts."""

    tideo: Tideo
    words: list[str]


class Cleaner:
    """Remove duplicate and unfit Tideos, and balance the positions of right answers.

    The first of several duplicates stays. The same seed gives the same result. An instance is called once; `report`
    covers the Tideos processed so far.
    """

    def __init__(self, seed: int, checks: Checks | None = None) -> None:
        self._draws = random.Random(f"{seed} options")
        self._checks = checks or Checks()
        self._tally = DropCounts()
        self._clean_count = 0
        self._ordered = 0
        self._before, self._after = Counter[str](), Counter[str]()
        self._answer_counts: dict[int, Counter[int]] = {}
        self._leakage = LeakageCounter()

    def __call__(self, tideos: Iterable[Tideo]) -> Iterator[CleanTideo]:
        """Yield the Tideos that pass, in order. Raises UsageError if rensa is needed and isn't installed."""
        with DuplicateIndex(self._checks.near, self._checks.permutations) as duplicates:
            for tideo in tideos:
                text = " ".join(texts(tideo))
                tideo_words = words(text)
                reason = find_fault(tideo, text, self._checks) or duplicates.add(tideo.id, tideo_words)
                if reason is not None:
                    self._tally.add(reason, tideo.id)
                    continue
                self._clean_count += 1
                self._before.update(letters(tideo))
                balanced = self._balance(tideo)
                self._after.update(letters(balanced))
                self._leakage.add(balanced)
                yield CleanTideo(balanced, tideo_words)

    @property
    def report(self) -> CleaningReport:
        """The report on the Tideos so far."""
        return CleaningReport(
            read=self._clean_count + self._tally.total,
            kept=self._clean_count,
            dropped={reason: dict(entry) for reason, entry in self._tally.as_json().items()},
            before=dict(sorted(self._before.items())),
            after=dict(sorted(self._after.items())),
            ordered=self._ordered,
            leakage=self._leakage.shares,
        )

    def _balance(self, tideo: Tideo) -> Tideo:
        return tideo.model_copy(update={"questions": tuple(map(self._place, tideo.questions))})

    def _place(self, question: Question) -> Question:
        if question.answer is None:
            return question
        counts = self._answer_counts.setdefault(len(question.options), Counter())
        if keeps_order(question):  # later questions compensate
            self._ordered += 1
            counts[question.answer] += 1
            return question
        place = min(range(len(question.options)), key=lambda k: (counts[k], self._draws.random()))
        counts[place] += 1
        return place_answer(question, place, self._draws)


def find_fault(tideo: Tideo, text: str, checks: Checks) -> str | None:
    """Return the class of problem that makes a Tideo unfit for training, or None. text: all of its `texts`."""
    captions = [caption for frame in tideo.frames for caption in (frame.caption, *frame.objects)]
    if not checks.frames[0] <= len(tideo.frames) <= checks.frames[1]:
        return "too few or too many frames"
    minimum, maximum = checks.caption_words
    # A text has at least one word, and no more words than characters.
    doubtful = captions if minimum > 1 else [caption for caption in captions if len(caption) > maximum]
    if any(not minimum <= len(caption.split()) <= maximum for caption in doubtful):
        return "a caption is too short or too long"
    minimum, maximum = checks.description_words
    if not minimum <= len(tideo.description.split()) <= maximum:
        return "the description is too short or too long"
    if _latin(text) < checks.latin:
        return "in another script"
    return None


class LeakageCounter:
    """Measure answer leakage over a stream of Tideos."""

    def __init__(self) -> None:
        self._questions = 0
        self._chance = self._longest = self._overlap = 0.0

    def add(self, tideo: Tideo) -> None:
        """Count the questions of a Tideo that have options and a known answer."""
        for question in choices(tideo):
            question_words = set(words(question.question))
            overlaps = [len(question_words.intersection(words(option))) for option in question.options]
            self._questions += 1
            self._chance += 1 / len(question.options)
            self._longest += _points(question, [len(option) for option in question.options])
            self._overlap += _points(question, overlaps)

    @property
    def shares(self) -> Leakage:
        """The leakage so far; all 0 without questions."""
        n = max(self._questions, 1)
        return Leakage(
            questions=self._questions,
            chance=self._chance / n,
            longest=self._longest / n,
            overlap=self._overlap / n,
        )


def choices(tideo: Tideo) -> Iterator[Question]:
    """Yield the questions that have options and a known answer."""
    return (question for question in tideo.questions if question.answer is not None)


def letters(tideo: Tideo) -> Iterator[str]:
    """Yield the letters of the right answers."""
    return (chr(ord("A") + (question.answer or 0)) for question in choices(tideo))


def _latin(text: str) -> float:
    """Return the share of a-z among the letters; 1 if there are none."""
    if text.isascii():
        return 1.0
    letters = [c for c in text if c.isalpha()]
    return sum(c.isascii() for c in letters) / len(letters) if letters else 1.0


def _points(question: Question, scores: Sequence[int]) -> float:
    best = max(scores)
    return (scores[question.answer or 0] == best) / scores.count(best)


def texts(tideo: Tideo) -> Iterator[str]:
    """Yield all texts of a Tideo except its questions."""
    yield tideo.description
    for frame in tideo.frames:
        yield frame.caption
        yield from frame.objects


def words(text: str) -> list[str]:
    """Return the case-folded words of a text."""
    if text.isascii():  # equivalent, three times as fast
        return text.translate(_SPACED).split()
    return _WORD.findall(text.casefold())
