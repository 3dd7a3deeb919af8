"""Which Tideos are fit for training, and what their questions give away without a video.

Reads Tideos as they were written or imported; gives those that are kept, and a report that counts the others. One Tideo
is in memory at a time: what duplicates are found by lies in a scratch file (`topa.tideos.duplicates`).
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
    """What a Tideo must be like.

    near: two Tideos whose runs of three words overlap by this share (Jaccard, estimated by MinHash) or more are near
    duplicates; 1 looks for exact ones only. permutations: of MinHash; the estimate is off by about their root's
    inverse. frames, caption_words, description_words: the least and the most. latin: the least share of a-z among
    all letters, a simple stand-in for "is in English"; 0 allows every script.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    near: float = Field(0.8, gt=0, le=1)
    permutations: int = Field(128, ge=16)
    frames: tuple[int, int] = (1, 64)
    caption_words: tuple[int, int] = (1, 120)
    description_words: tuple[int, int] = (3, 600)
    latin: float = Field(0.9, ge=0, le=1)


class Leakage(BaseModel):
    """Shares of questions that are answered right without any video; equal options share their point.

    questions: with options and a known answer. chance: guessing. longest: the option with most characters.
    overlap: the option that has most words in common with the question.
    """

    model_config = ConfigDict(frozen=True)

    questions: int
    chance: float
    longest: float
    overlap: float


class CleaningReport(BaseModel):
    """What `clean` found. dropped: reason to count and examples of ids. before, after: right answers by letter, of the
    Tideos kept. ordered: questions whose options keep their order."""

    model_config = ConfigDict(frozen=True)

    read: int
    kept: int
    dropped: dict[str, dict[str, Any]]
    before: dict[str, int]
    after: dict[str, int]
    ordered: int
    leakage: Leakage


class CleanTideo(NamedTuple):
    """A Tideo that is kept, its options balanced, and the words that it tells, case folded."""

    tideo: Tideo
    words: list[str]


class Cleaner:
    """Leaves out what is double or malformed, and puts right answers at all places equally often.

    Of duplicates the first stays. The same seed gives the same result. Used once: it is called with Tideos and gives
    those kept, in their order; `report` tells of all that went through so far.
    """

    def __init__(self, seed: int, checks: Checks | None = None) -> None:
        self._draws = random.Random(f"{seed} options")
        self._checks = checks or Checks()
        self._tally = DropCounts()
        self._kept = 0
        self._ordered = 0
        self._before, self._after = Counter[str](), Counter[str]()
        self._used: dict[int, Counter[int]] = {}
        self._leakage = LeakageCounter()

    def __call__(self, tideos: Iterable[Tideo]) -> Iterator[CleanTideo]:
        """The Tideos kept. Raises UsageError where rensa is needed and isn't installed."""
        with DuplicateIndex(self._checks.near, self._checks.permutations) as seen:
            for tideo in tideos:
                told = " ".join(texts(tideo))
                used = words(told)
                reason = find_fault(tideo, told, self._checks) or seen.add(tideo.id, used)
                if reason is not None:
                    self._tally.add(reason, tideo.id)
                    continue
                self._kept += 1
                self._before.update(letters(tideo))
                balanced = self._balance(tideo)
                self._after.update(letters(balanced))
                self._leakage.add(balanced)
                yield CleanTideo(balanced, used)

    @property
    def report(self) -> CleaningReport:
        """What was found so far."""
        return CleaningReport(
            read=self._kept + self._tally.total,
            kept=self._kept,
            dropped={reason: dict(found) for reason, found in self._tally.as_json().items()},
            before=dict(sorted(self._before.items())),
            after=dict(sorted(self._after.items())),
            ordered=self._ordered,
            leakage=self._leakage.shares,
        )

    def _balance(self, tideo: Tideo) -> Tideo:
        return tideo.model_copy(update={"questions": tuple(map(self._placed, tideo.questions))})

    def _placed(self, question: Question) -> Question:
        if question.answer is None:
            return question
        used = self._used.setdefault(len(question.options), Counter())
        if keeps_order(question):  # those that come later make up for it
            self._ordered += 1
            used[question.answer] += 1
            return question
        place = min(range(len(question.options)), key=lambda k: (used[k], self._draws.random()))
        used[place] += 1
        return place_answer(question, place, self._draws)


def find_fault(tideo: Tideo, text: str, checks: Checks) -> str | None:
    """What makes a Tideo unfit for training by itself, as a class; None where nothing does. text: all that it tells."""
    captions = [caption for frame in tideo.frames for caption in (frame.caption, *frame.objects)]
    if not checks.frames[0] <= len(tideo.frames) <= checks.frames[1]:
        return "too few or too many frames"
    least, most = checks.caption_words
    # A text has a word at least, and at most as many as characters.
    doubtful = captions if least > 1 else [caption for caption in captions if len(caption) > most]
    if any(not least <= len(caption.split()) <= most for caption in doubtful):
        return "a caption is too short or too long"
    least, most = checks.description_words
    if not least <= len(tideo.description.split()) <= most:
        return "the description is too short or too long"
    if _latin(text) < checks.latin:
        return "in another script"
    return None


class LeakageCounter:
    """Counts what wording alone gives away, Tideo by Tideo."""

    def __init__(self) -> None:
        self._questions = 0
        self._chance = self._longest = self._overlap = 0.0

    def add(self, tideo: Tideo) -> None:
        """Count the questions of a Tideo that have options and a known answer."""
        for question in choices(tideo):
            asked = set(words(question.question))
            shared = [len(asked.intersection(words(option))) for option in question.options]
            self._questions += 1
            self._chance += 1 / len(question.options)
            self._longest += _points(question, [len(option) for option in question.options])
            self._overlap += _points(question, shared)

    @property
    def shares(self) -> Leakage:
        """The shares so far. Without questions all are 0."""
        n = max(self._questions, 1)
        return Leakage(
            questions=self._questions,
            chance=self._chance / n,
            longest=self._longest / n,
            overlap=self._overlap / n,
        )


def choices(tideo: Tideo) -> Iterator[Question]:
    """The questions that have options and a known answer."""
    return (question for question in tideo.questions if question.answer is not None)


def letters(tideo: Tideo) -> Iterator[str]:
    """The letters of the right answers."""
    return (chr(ord("A") + (question.answer or 0)) for question in choices(tideo))


def _latin(text: str) -> float:
    """The share of a-z among the letters; 1 where there are none."""
    if text.isascii():
        return 1.0
    letters = [c for c in text if c.isalpha()]
    return sum(c.isascii() for c in letters) / len(letters) if letters else 1.0


def _points(question: Question, scores: Sequence[int]) -> float:
    best = max(scores)
    return (scores[question.answer or 0] == best) / scores.count(best)


def texts(tideo: Tideo) -> Iterator[str]:
    """Everything that a Tideo tells, without its questions."""
    yield tideo.description
    for frame in tideo.frames:
        yield frame.caption
        yield from frame.objects


def words(text: str) -> list[str]:
    """The words of a text, case folded."""
    if text.isascii():  # the same, three times as fast
        return text.translate(_SPACED).split()
    return _WORD.findall(text.casefold())
