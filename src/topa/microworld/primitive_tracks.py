"""What can happen in a Tideo of temporal primitives: something moves, things take turns, something happens a number of
times, things become more or fewer, something changes its state.

Each is a track: a value for every frame, what each value looks like, and the questions that the values answer. What is
seen of a value depends on nothing but the value; only the order of the values tells the rest.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .primitive_words import (
    AMOUNTS,
    COURSES,
    EVENTS,
    NUMBERS,
    POSITIONS,
    PROCESSES,
    STAGES,
    STATES,
    TIMES,
    TURNS,
)

OPTIONS = 5
_LINEAR = {(0, 2): 2, (0, 3): 1, (0, 4): 1, (1, 3): 3, (1, 4): 1, (2, 4): 2}
"""How often each way from one of five positions to another one is taken. Together with the ways back, each position is
the start, and the end, equally often."""
_ENDS = (("at the start", 0), ("at the end", -1))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question before its options are laid out. `wrong`: the other four; `told`: the answer as a sentence."""

    kind: str
    question: str
    answer: str
    wrong: tuple[str, ...]
    told: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What a value of a track looks like: who or what, and all phrases for what it does there. `fronted`: these are
    "is" and a place, which may come first."""

    a: str
    does: tuple[str, ...]
    that: str = "that"
    there: str = "there is"
    fronted: bool = False

    def sentence(self, lead: str, rng: random.Random) -> str:
        """What there is to see, without capital and full stop. `lead`: what it has to begin with, or nothing."""
        does = rng.choice(self.does)
        form = rng.random()
        if form < 0.4:
            return f"{lead}{self.a} {does}"
        if form < 0.6 and self.fronted and not lead:
            return f"{does.removeprefix('is ')}, {self.there} {self.a}"
        return f"{lead}{self.there if form < 0.8 else 'we see'} {self._phrase(does, rng)}"

    def phrase(self, rng: random.Random) -> str:
        """The same as the caption of an object."""
        return self._phrase(rng.choice(self.does), rng)

    def _phrase(self, does: str, rng: random.Random) -> str:
        if self.fronted:
            return f"{self.a} {does.removeprefix('is ')}"
        if does.startswith("is ") and rng.random() < 0.5:
            return f"{self.a}, {does.removeprefix('is ')}"
        return f"{self.a} {self.that} {does}"


@dataclass(frozen=True, slots=True)
class Track:
    """Something that happens over all frames. `values`: one for each frame, indices into `sights`. `things`: objects
    that are seen all the time. `nouns`: what it speaks of; two tracks of a Tideo share none. `least`: frames that are
    needed."""

    theme: ClassVar[str]
    least: ClassVar[int] = 5
    values: tuple[int, ...]
    sights: tuple[Sight, ...]
    things: tuple[str, ...]
    nouns: frozenset[str]

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> Track:
        """Draw what happens, indoors or outdoors."""
        raise NotImplementedError

    def tell(self) -> list[str]:
        """What happens over time, as sentences without capital and full stop."""
        raise NotImplementedError

    def ask(self, rng: random.Random) -> list[Asked]:
        """The questions that the values answer, with other wordings and wrong options each time."""
        raise NotImplementedError

    @property
    def runs(self) -> tuple[int, ...]:
        """The values one after another, however long each lasts."""
        return tuple(value for value, _ in itertools.groupby(self.values))


def course(axis: str, positions: Sequence[int]) -> int | None:
    """Which course positions over time are: an index into `COURSES[axis]`; None where they are none of these.

    On the axis "round" there are eight positions in a circle, of which neighbouring frames are at most two apart; on
    all others five in a row.
    """
    steps = [b - a for a, b in itertools.pairwise(positions)]
    if axis == "round":
        steps = [(step + 4) % 8 - 4 for step in steps]
    signs = [sign for sign, _ in itertools.groupby(1 if step > 0 else -1 for step in steps if step)]
    if signs in ([1], [-1]):
        return 0 if signs == [1] else 1
    if signs in ([1, -1], [-1, 1]) and sum(steps) == 0:
        return 2 if signs == [1, -1] else 3
    return None


@dataclass(frozen=True, slots=True)
class Motion(Track):
    """Something moves; a value is a position. `ways`: the courses that are asked about, as axis and index into
    `COURSES`. `labels`: the positions in answers."""

    theme = "direction"
    it: str
    axis: str
    ways: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> Motion:
        """Two axes are asked about: one with both directions, one with there and back as well. So without the order of
        the frames two options are left at least."""
        stage = rng.choice([stage for stage in STAGES if where in stage.where])
        more, less = rng.sample(stage.axes, 2)
        ways = ((more, 0), (more, 1), (more, rng.choice((2, 3))), (less, 0), (less, 1))
        axis, way = rng.choice(ways)
        noun, look, center = rng.choice(stage.movers), rng.choice(stage.grounds), rng.choice(stage.rounds)
        mover, ground = f"{rng.choice(stage.adjectives)} {noun}", f"{rng.choice(stage.looks)} {look}"
        positions = POSITIONS[stage.view, axis]
        around = f" {'in front of' if stage.view == 'air' else 'on'} {article(ground)}" if axis == "round" else ""
        return cls(
            (_circle if axis == "round" else _line)(way, frames, rng),
            tuple(
                Sight(
                    article(mover),
                    tuple(f"is {phrase.format(s=article(ground), c=article(center))}{around}" for phrase in phrases),
                    "who" if stage.who else "that",
                    fronted=True,
                )
                for phrases in positions
            ),
            (article(center) if axis == "round" else article(ground),),
            _heads(noun, look, center),
            f"the {mover}",
            axis,
            ways,
            tuple(phrases[0].format(s=f"the {look}", c=f"the {center}") for phrases in positions),
        )

    @property
    def answer(self) -> str:
        """The course of the values. Raises ValueError where they are none."""
        way = course(self.axis, self.values)
        if way is None:
            raise ValueError(f"positions {self.values} on the axis {self.axis} are no course")
        return COURSES[self.axis][way]

    def tell(self) -> list[str]:
        """Start, course and end."""
        first, last = self.values[0], self.values[-1]
        return [
            f"at the start, {self.sights[first].a} {self.sights[first].does[0]}",
            f"then {self.it} moves {self.answer}",
            f"at the end, {self.it} is {self.labels[last]}" + (" again" if first == last else ""),
        ]

    def ask(self, rng: random.Random) -> list[Asked]:
        """Its course; where it is at the start and at the end."""
        wording = (
            "In which direction does {} move?",
            "Which way does {} move?",
            "How does {} move?",
            "Where does {} go?",
        )
        courses = [COURSES[axis][way] for axis, way in self.ways]
        told = f"{self.it} moves {self.answer}"
        asked = [
            Asked(self.theme, rng.choice(wording).format(self.it), self.answer, _others(courses, self.answer), told)
        ]
        for when, at in _ENDS:
            right = self.labels[self.values[at]]
            others = rng.sample(_others(self.labels, right), OPTIONS - 1)
            question = rng.choice((f"Where is {self.it} {when}?", f"{upper(when)}, where is {self.it}?"))
            asked.append(Asked(self.theme, question, right, tuple(others), f"{when}, {self.it} is {right}"))
        return asked


def _line(way: int, frames: int, rng: random.Random) -> tuple[int, ...]:
    """Positions in a row of five, for a course."""
    start, end = rng.choices(tuple(_LINEAR), weights=tuple(_LINEAR.values()))[0]
    if way in (2, 3):
        out, turn = rng.randint(3, frames - 2), rng.randint(start + 2, 4)
        found = _rise(start, turn, out, rng) + _rise(start, turn, frames - out + 1, rng)[-2::-1]
    else:
        found = _rise(start, end, frames, rng)
    return tuple(4 - position for position in found) if way in (1, 3) else found


def _rise(start: int, end: int, frames: int, rng: random.Random) -> tuple[int, ...]:
    return (start, *sorted(rng.choices(range(start, end + 1), k=frames - 2)), end)


def _circle(way: int, frames: int, rng: random.Random) -> tuple[int, ...]:
    """Positions in a circle of eight, for a course."""
    if way in (2, 3):
        out = rng.randint(2, frames - 3)
        arc = rng.randint(3, min(6, 2 * out, 2 * (frames - 1 - out)))
        steps = _steps(arc, out, rng) + [-step for step in _steps(arc, frames - 1 - out, rng)]
    else:
        steps = _steps(rng.randint(4, min(10, 2 * (frames - 1))), frames - 1, rng)
    sign = -1 if way in (1, 3) else 1
    return tuple(place % 8 for place in itertools.accumulate((sign * s for s in steps), initial=rng.randrange(8)))


def _steps(total: int, number: int, rng: random.Random) -> list[int]:
    """So many steps of 0 to 2 that come to `total`."""
    steps = [0] * number
    for i in rng.sample([*range(number)] * 2, total):
        steps[i] += 1
    return steps


@dataclass(frozen=True, slots=True)
class TakingTurns(Track):
    """Things take turns at one spot; a value is one of them. `sights` holds some more, which are never seen.

    names: each with its definite article. does: what is said of each, in questions.
    """

    theme = "order"
    names: tuple[str, ...]
    does: str
    who: bool

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> TakingTurns:
        """Three to five things in random order."""
        turns = rng.choice([turns for turns in TURNS if where in turns.where])
        nouns, spot = rng.sample(turns.nouns, OPTIONS + 1), rng.choice(turns.spots)
        does, that = turns.does, "who" if turns.who else "that"
        looks = rng.choices(turns.adjectives, k=len(nouns))
        phrases = [f"{n} {a}" if a.startswith("in ") else f"{a} {n}" for n, a in zip(nouns, looks, strict=True)]
        return cls(
            _spread(range(rng.randint(3, 5)), frames, rng),
            tuple(Sight(article(phrase), tuple(f"{d} {article(spot)}" for d in does), that) for phrase in phrases),
            (article(spot),),
            _heads(*nouns, spot),
            tuple(f"the {phrase}" for phrase in phrases),
            f"{does[0]} the {spot}",
            turns.who,
        )

    def tell(self) -> list[str]:
        """Each in its turn."""
        first, *rest = self.runs
        told = [f"first, {self.sights[first].a} {self.sights[first].does[0]}"]
        told += [f"after that, it is {self.sights[item].a}" for item in rest[:-1]]
        return [*told, f"the last one is {self.sights[rest[-1]].a}"]

    def ask(self, rng: random.Random) -> list[Asked]:
        """Which is first, which is last, which comes right after and right before one, the order of three."""
        what, runs = "Who" if self.who else "What", self.runs
        asked = [
            self._which(f"{what} {self.does} {word}?", runs[at], f"{{}} {self.does} {word}", (), rng)
            for word, at in (("first", 0), ("last", -1))
        ]
        for word, back in (("after", 0), ("before", 1)):
            at = rng.randrange(len(runs) - 1)
            known, right = runs[at + back], runs[at + 1 - back]
            question = f"{what} {self.does} right {word} {self.names[known]}?"
            asked.append(self._which(question, right, f"{{}} comes right {word} {self.names[known]}", (known,), rng))
        three = sorted(rng.sample(range(len(runs)), 3))
        orders = [", then ".join(self.names[runs[i]] for i in order) for order in itertools.permutations(three)]
        listed = ", ".join(self.names[runs[i]] for i in rng.sample(three, 3))
        asked.append(
            Asked(
                self.theme,
                f"In which order do these come: {listed}?",
                orders[0],
                tuple(rng.sample(orders[1:], OPTIONS - 1)),
                f"first comes {orders[0]}",
            )
        )
        return asked

    def _which(self, question: str, right: int, told: str, known: tuple[int, ...], rng: random.Random) -> Asked:
        seen = [item for item in self.runs if item != right and item not in known]
        unseen = [item for item in range(len(self.names)) if item not in self.runs]
        wrong = seen + rng.sample(unseen, OPTIONS - 1 - len(seen))
        names = [self.sights[item].a for item in wrong]
        return Asked(self.theme, question, self.sights[right].a, tuple(names), told.format(self.names[right]))


@dataclass(frozen=True, slots=True)
class Repeated(Track):
    """Something happens a number of times; a value is 1 while it lasts. It never lasts from the start."""

    theme = "counting"
    least = 2 * len(TIMES)
    asked: str
    told: str

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> Repeated:
        """Once to five times. It is over at the end, or not."""
        event = rng.choice([event for event in EVENTS if where in event.where])
        noun = rng.choice(event.nouns)
        thing = f"{rng.choice(event.adjectives)} {noun}"
        that = "who" if event.who else "that"
        runs = min(2 * rng.randint(1, len(TIMES)) + rng.randint(0, 1), frames)
        return cls(
            _spread([i % 2 for i in range(runs)], frames, rng),
            (Sight(article(thing), event.off, that), Sight(article(thing), event.on, that)),
            (),
            _heads(noun),
            event.asked.format(x=f"the {thing}"),
            event.told.format(x=f"the {thing}"),
        )

    @property
    def times(self) -> int:
        """How often it happens."""
        return sum(self.runs)

    def tell(self) -> list[str]:
        """How it is at first, and how often it happens."""
        off = self.sights[0]
        return [f"at first, {off.a} {off.does[0]}", f"in all, {self.told} {TIMES[self.times - 1]}"]

    def ask(self, rng: random.Random) -> list[Asked]:
        """How often it happens."""
        right = TIMES[self.times - 1]
        question = f"{rng.choice(('How many times', 'How often'))} {self.asked}?"
        return [Asked(self.theme, question, right, _others(TIMES, right), f"{self.told} {right}")]


@dataclass(frozen=True, slots=True)
class Varying(Track):
    """Things become more or fewer; a value is their number less one. `window`: the numbers that are asked about."""

    theme = "counting"
    many: str
    where: str
    window: tuple[int, ...]

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> Varying:
        """At the start and at the end there is any number of five, and others between."""
        amount = rng.choice([amount for amount in AMOUNTS if where in amount.where])
        (one, more), on, look = rng.choice(amount.things), rng.choice(amount.on), rng.choice(amount.adjectives)
        least = rng.randrange(len(NUMBERS) - OPTIONS + 1)
        window = tuple(range(least, least + OPTIONS))
        numbers, last = [rng.choice(window)], rng.choice(window)
        for _ in range(rng.randint(1, 3)):
            numbers.append(rng.choice([n for n in window if n not in (numbers[-1], last)]))
        does, that = [(f"{verb} {on}",) for verb in amount.verb], "who" if amount.who else "that"
        return cls(
            _spread([*numbers, last], frames, rng),
            (
                Sight(f"one {look} {one}", does[0], that),
                *(Sight(f"{number} {look} {more}", does[1], that, "there are") for number in NUMBERS[1:]),
            ),
            (),
            _heads(one, on),
            f"{look} {more}",
            definite(on),
            window,
        )

    def tell(self) -> list[str]:
        """The number, each time that it changes."""
        _, *between, last = (NUMBERS[value] for value in self.runs)
        sight = self.sights[self.values[0]]
        told = [f"at first, {sight.a} {sight.does[0]}"]
        told.append(f"later the number of {self.many} is {', then '.join(between)}")
        return [*told, f"at the end, the number of {self.many} is {last}"]

    def ask(self, rng: random.Random) -> list[Asked]:
        """How many there are at the start and at the end."""
        asked = []
        for when, at in _ENDS:
            value = self.values[at]
            question = rng.choice(
                (f"How many {self.many} are {self.where} {when}?", f"{upper(when)}, how many {self.many} are there?")
            )
            wrong = tuple(NUMBERS[other] for other in self.window if other != value)
            told = f"{when}, the number of {self.many} {self.where} is {NUMBERS[value]}"
            asked.append(Asked(self.theme, question, NUMBERS[value], wrong, told))
        return asked


@dataclass(frozen=True, slots=True)
class Changing(Track):
    """Something changes its state, from any of six to any other; a value is a state. `labels`: these in answers."""

    theme = "state"
    it: str
    labels: tuple[str, ...]

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> Changing:
        """Three to five states in random order, each once."""
        kind = rng.choice([kind for kind in STATES if where in kind.where])
        noun = rng.choice(kind.nouns)
        thing = f"{rng.choice(kind.adjectives)} {noun}"
        order = rng.sample(range(len(kind.states)), rng.randint(3, 5))
        return cls(
            _spread(order, frames, rng),
            tuple(Sight(article(thing), tuple(f"is {phrase}" for phrase in phrases)) for phrases in kind.states),
            (),
            _heads(noun),
            f"the {thing}",
            tuple(phrases[0] for phrases in kind.states),
        )

    def tell(self) -> list[str]:
        """One state after another."""
        first, *between, last = self.runs
        told = [f"at first, {self.sights[first].a} {self.sights[first].does[0]}"]
        told += [f"after that, {self.it} is {self.labels[state]}" for state in between]
        return [*told, f"in the end, {self.it} is {self.labels[last]}"]

    def ask(self, rng: random.Random) -> list[Asked]:
        """The state at the start and at the end, right before and right after another one, and what has changed."""
        runs, asked = self.runs, []
        for when, at in _ENDS:
            unseen = [state for state in range(len(self.labels)) if state not in runs]
            wrong = [state for state in runs if state != runs[at]]
            wrong += rng.sample(unseen, OPTIONS - 1 - len(wrong))
            question = rng.choice((f"What is {self.it} like {when}?", f"{upper(when)}, what is {self.it} like?"))
            asked.append(self._state(question, runs[at], wrong, f"{when}, {self.it} is {{}}"))
        for word, back in (("after", 0), ("before", 1)):
            at = rng.randrange(len(runs) - 1)
            known, right = runs[at + back], runs[at + 1 - back]
            wrong = [state for state in range(len(self.labels)) if state not in (known, right)]
            when = f"right {word} it is {self.labels[known]}"
            asked.append(self._state(f"What is {self.it} like {when}?", right, wrong, f"{when}, {self.it} is {{}}"))
        ends = (runs[0], runs[-1], rng.choice(runs[1:-1]))
        changes = [
            f"at first {self.labels[a]}, in the end {self.labels[b]}" for a, b in itertools.permutations(ends, 2)
        ]
        question = rng.choice((f"How does {self.it} change from start to end?", f"In all, how has {self.it} changed?"))
        wrong_changes = tuple(rng.sample(changes[1:], OPTIONS - 1))
        told = f"{self.it} is {changes[0]}"
        return [*asked, Asked(self.theme, question, changes[0], wrong_changes, told)]

    def _state(self, question: str, right: int, wrong: list[int], told: str) -> Asked:
        label = self.labels[right]
        return Asked(self.theme, question, label, tuple(self.labels[state] for state in wrong), told.format(label))


@dataclass(frozen=True, slots=True)
class Process(Changing):
    """Something changes its state in the one order that is possible. `end`: whether the end is asked about, else the
    start; only that one is equally often each of five states."""

    end: bool

    @classmethod
    def draw(cls, where: str, frames: int, rng: random.Random) -> Process:
        """Two to four states, all of them different."""
        kind = rng.choice([kind for kind in PROCESSES if where in kind.where])
        noun = rng.choice(kind.nouns)
        thing = f"{rng.choice(kind.adjectives)} {noun}"
        end, asked = rng.random() < 0.5, rng.randrange(OPTIONS)
        others = range(asked + 1) if end else range(asked + 1, OPTIONS + 1)
        chosen = sorted([asked + end, *rng.sample(others, rng.randint(1, min(3, len(others))))])
        return cls(
            _spread(chosen, frames, rng),
            tuple(Sight(article(thing), tuple(f"is {phrase}" for phrase in phrases)) for phrases in kind.states),
            (),
            _heads(noun),
            f"the {thing}",
            tuple(phrases[0] for phrases in kind.states),
            end,
        )

    def ask(self, rng: random.Random) -> list[Asked]:
        """The state at the end, or at the start."""
        when, at = _ENDS[self.end]
        question = rng.choice((f"What is {self.it} like {when}?", f"{upper(when)}, what is {self.it} like?"))
        wrong = [state for state in range(self.end, OPTIONS + self.end) if state != self.values[at]]
        return [self._state(question, self.values[at], wrong, f"{when}, {self.it} is {{}}")]


def article(phrase: str) -> str:
    """The phrase with its indefinite article."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def definite(phrase: str) -> str:
    """The phrase with definite articles for indefinite ones."""
    return " ".join("the" if word in ("a", "an") else word for word in phrase.split())


def upper(text: str) -> str:
    """The text with a capital."""
    return text[0].upper() + text[1:]


def _others(found: Sequence[str], one: str) -> tuple[str, ...]:
    return tuple(other for other in found if other != one)


def _heads(*phrases: str) -> frozenset[str]:
    """The last word of each."""
    return frozenset(phrase.rpartition(" ")[2] for phrase in phrases)


def _spread(values: Sequence[int], frames: int, rng: random.Random) -> tuple[int, ...]:
    """Each value for one frame or more, in their order."""
    cuts = [0, *sorted(rng.sample(range(1, frames), len(values) - 1)), frames]
    return tuple(value for value, (a, b) in zip(values, itertools.pairwise(cuts), strict=True) for _ in range(a, b))
