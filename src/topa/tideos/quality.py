"""Which Tideos are fit for training, and what their questions give away without a video.

Reads Tideos as they were written or imported; gives those that are kept, and a report that counts the others.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ..core.errors import UsageError
from .options import keeps_order, place_answer
from .tally import Tally
from .tideo import Question, Tideo

if TYPE_CHECKING:
    from datasketch import MinHash

_WORD = re.compile(r"\w+")
_SHINGLE = 3  # words: long enough that equal topics alone don't look alike


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


class Report(BaseModel):
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


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The Tideos that are kept, in their order, with options balanced."""

    tideos: tuple[Tideo, ...]
    report: Report


def clean(tideos: Iterable[Tideo], seed: int, checks: Checks | None = None) -> Cleaned:
    """Leave out what is double or malformed, and put right answers at all places equally often.

    Of duplicates the first stays. The same seed gives the same result. All Tideos kept are in memory.
    Raises UsageError where datasketch is needed and isn't installed.
    """
    checks = checks or Checks()
    tally = Tally()
    kept = list(_accepted(tideos, checks, tally))
    balanced, ordered = balance(kept, seed)
    report = Report(
        read=len(kept) + tally.total,
        kept=len(kept),
        dropped={reason: dict(found) for reason, found in tally.as_json().items()},
        before=letters(kept),
        after=letters(balanced),
        ordered=ordered,
        leakage=leakage(balanced),
    )
    return Cleaned(tuple(balanced), report)


def balance(tideos: Sequence[Tideo], seed: int) -> tuple[list[Tideo], int]:
    """The same Tideos with options permuted so that right answers are at all places equally often, and the number of
    questions whose options keep their order. These are counted too: the others make up for them."""
    used: dict[int, Counter[int]] = {}
    ordered = 0
    for question in _choices(tideos):
        if keeps_order(question):
            ordered += 1
            used.setdefault(len(question.options), Counter())[question.answer or 0] += 1

    def placed(question: Question, rng: random.Random) -> Question:
        if keeps_order(question):
            return question
        counts = used.setdefault(len(question.options), Counter())
        place = min(range(len(question.options)), key=lambda k: (counts[k], rng.random()))
        counts[place] += 1
        return place_answer(question, place, rng)

    result = []
    for tideo in tideos:
        rng = random.Random(f"{seed} options {tideo.id}")
        result.append(tideo.model_copy(update={"questions": tuple(placed(q, rng) for q in tideo.questions)}))
    return result, ordered


def letters(tideos: Iterable[Tideo]) -> dict[str, int]:
    """How often each letter is right."""
    counts = Counter(chr(ord("A") + (q.answer or 0)) for q in _choices(tideos))
    return dict(sorted(counts.items()))


def leakage(tideos: Iterable[Tideo]) -> Leakage:
    """What wording alone gives away. Without questions all shares are 0."""
    questions, chance, longest, overlap = 0, 0.0, 0.0, 0.0
    for question in _choices(tideos):
        asked = set(words(question.question))
        questions += 1
        chance += 1 / len(question.options)
        longest += _points(question, [len(option) for option in question.options])
        overlap += _points(question, [len(asked & set(words(option))) for option in question.options])
    n = max(questions, 1)
    return Leakage(questions=questions, chance=chance / n, longest=longest / n, overlap=overlap / n)


def _points(question: Question, scores: Sequence[int]) -> float:
    best = [i for i, score in enumerate(scores) if score == max(scores)]
    return (question.answer in best) / len(best)


def _choices(tideos: Iterable[Tideo]) -> Iterator[Question]:
    return (q for tideo in tideos for q in tideo.questions if q.answer is not None)


def _accepted(tideos: Iterable[Tideo], checks: Checks, tally: Tally) -> Iterator[Tideo]:
    ids: set[str] = set()
    known: set[bytes] = set()
    near = _Near(checks) if checks.near < 1 else None
    for tideo in tideos:
        told = words(" ".join(texts(tideo)))
        text = hashlib.sha256(" ".join(told).encode()).digest()
        reason = _fault(tideo, checks)
        if tideo.id in ids:
            reason = "its id came before"
        elif reason is None and text in known:
            reason = "exact duplicate"
        elif reason is None and near is not None and near.seen(tideo.id, told):
            reason = "near duplicate"
        if reason is not None:
            tally.add(reason, tideo.id)
            continue
        ids.add(tideo.id)
        known.add(text)
        yield tideo


def _fault(tideo: Tideo, checks: Checks) -> str | None:
    captions = [text for frame in tideo.frames for text in (frame.caption, *frame.objects)]
    described = len(words(tideo.description))
    latin = Counter(c.isascii() for text in texts(tideo) for c in text if c.isalpha())
    if not checks.frames[0] <= len(tideo.frames) <= checks.frames[1]:
        return "too few or too many frames"
    if any(not checks.caption_words[0] <= len(words(caption)) <= checks.caption_words[1] for caption in captions):
        return "a caption is too short or too long"
    if not checks.description_words[0] <= described <= checks.description_words[1]:
        return "the description is too short or too long"
    if latin[True] < checks.latin * latin.total():
        return "in another script"
    return None


def texts(tideo: Tideo) -> Iterator[str]:
    """Everything that a Tideo tells, without its questions."""
    yield tideo.description
    for frame in tideo.frames:
        yield frame.caption
        yield from frame.objects


def words(text: str) -> list[str]:
    """The words of a text, case folded."""
    return _WORD.findall(text.casefold())


class _Near:
    """The Tideos so far, by their MinHashes."""

    def __init__(self, checks: Checks) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError as error:
            raise UsageError(
                "clean: near duplicates need another package: pip install 'topa[data]'. Or look for exact ones only, "
                "with near=1."
            ) from error
        self._threshold, self._permutations, self._make = checks.near, checks.permutations, MinHash
        self._index = MinHashLSH(threshold=checks.near, num_perm=checks.permutations)
        self._hashes: dict[str, MinHash] = {}

    def seen(self, name: str, told: Sequence[str]) -> bool:
        """Whether one like it came before; if none did, it is one of them from now on."""
        shingles = {" ".join(told[i : i + _SHINGLE]) for i in range(max(1, len(told) - _SHINGLE + 1))}
        found = self._make(num_perm=self._permutations, seed=1)
        found.update_batch([shingle.encode() for shingle in sorted(shingles)])
        # The index gives candidates; the estimate decides.
        if any(self._hashes[other].jaccard(found) >= self._threshold for other in self._index.query(found)):
            return True
        self._index.insert(name, found)
        self._hashes[name] = found
        return False
