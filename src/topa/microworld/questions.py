"""Questions about stories, balanced so that they can't be answered without the video.

There are ten kinds (`KINDS_OF_QUESTION`) with five options each. Two rules keep a blind model at chance, even a trained
one: the answers to each question template are equally frequent (`Balance`), and wrong options come from the same pool
as right ones. For kinds about time, wrong options come from the video itself first, so that knowing *what* is shown
doesn't reveal *when*.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..tideos.tideo import Question
from .language import change_sentence, place_phrase, position_phrase
from .world import COLOURS, KINDS, PLACES, POSITIONS, Scene, Story

NUMBERS = ("one", "two", "three", "four", "five")
SIZE_COURSES = ("always small", "always large", "small then large", "large then small", "it changes more than once")
CHANGES = ("the toy", "the colour", "the size", "the position", "the place")
ACTIONS = (
    "it grows",
    "it shrinks",
    "it stays the same",
    *(f"it turns {c}" for c in COLOURS),
    *(f"it moves to the {p}" for p in POSITIONS),
    *(f"it goes to the {p}" for p in PLACES),
)
PLACE_ANSWERS = tuple(place_phrase(p) for p in PLACES)
POSITION_ANSWERS = tuple(position_phrase(p) for p in POSITIONS)
OPTIONS = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question about a story, before its options are chosen.

    template: the question without names, within which answers are balanced. near: wrong answers that occur in the
    video. pool: all possible answers.
    """

    kind: str
    template: str
    question: str
    answer: str
    pool: tuple[str, ...]
    near: tuple[str, ...] = ()


def _spans(story: Story) -> Iterator[tuple[str, list[Scene]]]:
    """Yield each toy with its scenes, which are contiguous."""
    for kind, scenes in itertools.groupby(story.scenes, key=lambda s: s.kind):
        yield kind, list(scenes)


def _runs(values: Sequence[str]) -> list[str]:
    return [value for value, _ in itertools.groupby(values)]


def _presence(story: Story) -> Iterator[Candidate]:
    present = {s.kind for s in story.scenes}
    absent = tuple(k for k in KINDS if k not in present)
    question = "which toy appears in the video ?"
    for kind in sorted(present):
        if len(absent) >= OPTIONS - 1:
            yield Candidate("presence", question, question, kind, absent)


def _ends(story: Story) -> Iterator[tuple[str, Scene]]:
    yield "at the start", story.scenes[0]
    yield "at the end", story.scenes[-1]


def _place(story: Story) -> Iterator[Candidate]:
    for when, scene in _ends(story):
        question = f"where is the toy {when} ?"
        yield Candidate("place", question, question, place_phrase(scene.place), PLACE_ANSWERS)
    for kind, scenes in _spans(story):
        if len({s.place for s in scenes}) == 1:
            yield Candidate(
                "place", "where is the # ?", f"where is the {kind} ?", place_phrase(scenes[0].place), PLACE_ANSWERS
            )


def _colour(story: Story) -> Iterator[Candidate]:
    for when, scene in _ends(story):
        question = f"what colour is the toy {when} ?"
        yield Candidate("colour", question, question, scene.colour, COLOURS)
    for kind, scenes in _spans(story):
        if len({s.colour for s in scenes}) == 1:
            yield Candidate(
                "colour", "what colour is the # ?", f"what colour is the {kind} ?", scenes[0].colour, COLOURS
            )


def _position(story: Story) -> Iterator[Candidate]:
    for when, scene in _ends(story):
        question = f"where in the picture is the toy {when} ?"
        yield Candidate("position", question, question, position_phrase(scene.position), POSITION_ANSWERS)
    for kind, scenes in _spans(story):
        if len({s.position for s in scenes}) == 1:
            yield Candidate(
                "position",
                "where in the picture is the # ?",
                f"where in the picture is the {kind} ?",
                position_phrase(scenes[0].position),
                POSITION_ANSWERS,
            )


def _size(story: Story) -> Iterator[Candidate]:
    course = _runs([s.size for s in story.scenes])
    answer = {1: f"always {course[0]}", 2: " then ".join(course)}.get(len(course), SIZE_COURSES[-1])
    question = "how big is the toy over the whole video ?"
    yield Candidate("size", question, question, answer, SIZE_COURSES)


def _count(story: Story) -> Iterator[Candidate]:
    question = "how many different toys appear ?"
    yield Candidate("count", question, question, NUMBERS[len({s.kind for s in story.scenes}) - 1], NUMBERS)
    for colour, n in sorted(Counter(s.colour for s in story.scenes).items()):
        question = f"in how many scenes is the toy {colour} ?"
        yield Candidate("count", "in how many scenes is the toy # ?", question, NUMBERS[n - 1], NUMBERS)


def _action(story: Story) -> Iterator[Candidate]:
    for kind, scenes in _spans(story):
        changes = [(a, b) for a, b in itertools.pairwise(scenes) if a != b]
        if len(changes) <= 1:
            did = change_sentence(*changes[0]) if changes else change_sentence(scenes[0], scenes[0])
            yield Candidate("action", "what does the # do ?", f"what does the {kind} do ?", f"it {did}", ACTIONS)


def _order(story: Story) -> Iterator[Candidate]:
    sequences: dict[str, Sequence[str]] = {
        "in which order do the toys appear ?": [s.kind for s in story.scenes],
        "in which order do the colours appear ?": [s.colour for s in story.scenes],
        "in which order are the places shown ?": [s.place for s in story.scenes],
    }
    for question, values in sequences.items():
        runs = _runs(values)
        if len(runs) == 3 and len(set(runs)) == 3:
            orders = tuple(" , ".join(p) for p in itertools.permutations(runs))
            yield Candidate("order", question, question, " , ".join(runs), orders)


def _before_after(story: Story) -> Iterator[Candidate]:
    # With fewer than three values in the video, the answer would be the only option that occurs in it.
    names: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
        ("which toy comes right {} the {} ?", KINDS, [k for k, _ in _spans(story)]),
        ("what colour comes right {} {} ?", COLOURS, _runs([s.colour for s in story.scenes])),
    )
    for wording, everything, values in names:
        if len(set(values)) < 3:
            continue
        for first, then in itertools.pairwise(values):
            for word, value, answer in (("after", first, then), ("before", then, first)):
                if values.count(value) == 1:
                    rest = tuple(v for v in everything if v != value)
                    near = tuple(dict.fromkeys(v for v in values if v != value))
                    template, question = wording.format(word, "#"), wording.format(word, value)
                    yield Candidate("before_after", template, question, answer, rest, near)


def _what_changed(story: Story) -> Iterator[Candidate]:
    for i, aspect in enumerate(story.changes, start=1):
        question = f"what changes between scene {i} and scene {i + 1} ?"
        yield Candidate("what_changed", question, question, f"the {aspect}", CHANGES)


_MAKERS: dict[str, Callable[[Story], Iterator[Candidate]]] = {
    "presence": _presence,
    "place": _place,
    "colour": _colour,
    "position": _position,
    "size": _size,
    "count": _count,
    "action": _action,
    "order": _order,
    "before_after": _before_after,
    "what_changed": _what_changed,
}
KINDS_OF_QUESTION = tuple(_MAKERS)
TIME_KINDS = ("order", "before_after")
"""The kinds that can't be answered from unordered frames."""


def candidates(story: Story, kind: str) -> list[Candidate]:
    """Return all questions of a kind about the story."""
    return list(_MAKERS[kind](story))


class Balance:
    """Choose questions so that the answers to each template are equally frequent, up to `slack`.

    An instance counts the answers over one set of stories.
    """

    def __init__(self, rng: random.Random, slack: int = 1) -> None:
        self._rng = rng
        self._slack = slack
        self._answer_counts: dict[str, Counter[str]] = {}

    def choose(self, story: Story, number: int) -> tuple[Question, ...]:
        """Choose up to `number` questions about the story, of different kinds."""
        selection: list[Question] = []
        for kind in self._rng.sample(KINDS_OF_QUESTION, len(KINDS_OF_QUESTION)):
            if len(selection) == number:
                break
            candidate = self.pick(story, kind)
            if candidate is not None:
                selection.append(lay_out(candidate, self._rng))
        return tuple(selection)

    def pick(self, story: Story, kind: str) -> Candidate | None:
        """Pick the question of a kind with the rarest answer; None if all answers are too frequent."""
        possible = candidates(story, kind)
        self._rng.shuffle(possible)
        for candidate in sorted(possible, key=self._excess):
            if self._excess(candidate) <= self._slack:
                self._answer_counts[candidate.template][candidate.answer] += 1
                return candidate
        return None

    def _excess(self, candidate: Candidate) -> int:
        counts = self._answer_counts.setdefault(candidate.template, Counter())
        if candidate.kind in ("order",):
            return 0  # all orders of three are equally likely by construction
        pool = {candidate.answer, *candidate.pool} if candidate.kind != "presence" else set(KINDS)
        return counts[candidate.answer] - min(counts[answer] for answer in pool)


def lay_out(candidate: Candidate, rng: random.Random) -> Question:
    """Make a question from a candidate, with five options in random order."""
    near = [a for a in candidate.near if a != candidate.answer]
    wrong = rng.sample(near, min(len(near), OPTIONS - 1))
    far = [a for a in candidate.pool if a != candidate.answer and a not in wrong]
    wrong += rng.sample(far, OPTIONS - 1 - len(wrong))
    options = [candidate.answer, *wrong]
    rng.shuffle(options)
    return Question(
        kind=candidate.kind,
        question=candidate.question,
        options=tuple(options),
        answer=options.index(candidate.answer),
        answer_text=candidate.answer,
    )
