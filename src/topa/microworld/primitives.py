"""Temporal primitives for real models: Tideos in natural English about direction, order, counting and state.

A few thousand of them, mixed into Tideos that a language model wrote, practise what those seldom ask: what only the
order of the frames tells. A caption says what is there at one moment and never what happens.

Questions give nothing away, by construction: whatever a question and its five options say, each option is equally
likely to be right. Either the answer is drawn first, evenly among the options, and the frames are made for it
(courses, counts, processes); or what could be right is in random order, so that any two options could change places
(things that take turns, states).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from ..tideos.tideo import Question, TextFrame, Tideo
from .primitive_tracks import Asked, Changing, Motion, Process, Repeated, TakingTurns, Track, Varying, article, upper
from .primitive_words import BOTH, MOODS, PLACES

THEMES = ("direction", "order", "counting", "state")
"""The four primitives, and the kinds of the questions."""
MOST = 15
"""Frames of a Tideo at most; the least is that of its tracks."""
_THEMES: dict[str, tuple[type[Track], ...]] = {
    "direction": (Motion,),
    "order": (TakingTurns,),
    "counting": (Repeated, Varying),
    "state": (Changing,),
}
_ALL: tuple[type[Track], ...] = (Motion, TakingTurns, Repeated, Varying, Changing, Process)
_ACCOMPANIED = 0.6  # share of Tideos in which something else happens beside the theme
_LEAD = 0.3  # share of captions that name the place


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a Tideo, before it is told. `tracks`: those of the theme first. `place`: with its article."""

    theme: str
    place: str
    tracks: tuple[Track, ...]
    frames: int


def write_primitives(count: int, seed: int) -> Iterator[Tideo]:
    """`count` Tideos, one at a time. Tideo number n depends on `seed` and n only.

    Each has 5 to 15 frames and 3 to 5 questions of five options each; `source["theme"]` is its main primitive.
    """
    for number in range(count):
        rng = random.Random(f"primitives {seed} {number}")
        planned = plan(rng)
        yield tell(planned, rng, f"primitives-{seed}-{number:06d}", {"seed": seed, "number": number})


def plan(rng: random.Random) -> Plan:
    """Draw what happens."""
    theme, where = rng.choice(THEMES), rng.choice(BOTH)
    kinds = list(_THEMES[theme])
    if rng.random() < _ACCOMPANIED:
        kinds.append(rng.choice([kind for kind in _ALL if kind not in kinds]))
    frames = rng.randint(max(kind.least for kind in kinds), MOST)
    tracks: list[Track] = []
    while len(tracks) < len(kinds):
        track = kinds[len(tracks)].draw(where, frames, rng)
        if not any(track.nouns & other.nouns for other in tracks):
            tracks.append(track)
    place = article(f"{rng.choice(MOODS[where])} {rng.choice(PLACES[where])}")
    return Plan(theme, place, tuple(tracks), frames)


def tell(planned: Plan, rng: random.Random, name: str, source: dict[str, int]) -> Tideo:
    """The Tideo of a plan, in words that `rng` chooses."""
    return Tideo(
        id=name,
        frames=tuple(_frame(planned, at, rng) for at in range(planned.frames)),
        description=_sentences([f"the place is {planned.place}", *(s for t in planned.tracks for s in t.tell())]),
        questions=tuple(_lay_out(asked, rng) for asked in _choose(planned, rng)),
        source={"writer": "primitives", **source, "seed_kind": "primitives", "theme": planned.theme},
    )


def _frame(planned: Plan, at: int, rng: random.Random) -> TextFrame:
    sights = [track.sights[track.values[at]] for track in planned.tracks]
    lead = f"in {planned.place}, " if rng.random() < _LEAD else ""
    said = [sight.sentence("" if i else lead, rng) for i, sight in enumerate(sights)]
    if not lead:
        rng.shuffle(said)
    objects = [sight.phrase(rng) for sight in sights]
    objects += [thing for track in planned.tracks for thing in track.things]
    return TextFrame(caption=_sentences(said), objects=tuple(objects[:4]))


def _choose(planned: Plan, rng: random.Random) -> list[Asked]:
    """Three to five questions, most of them on the theme, in random order."""
    number = rng.randint(3, 5)
    main: list[Asked] = []
    other: list[Asked] = []
    for track in planned.tracks:
        (main if track.theme == planned.theme else other).extend(track.ask(rng))
    aside = min(len(other), max(number - len(main), rng.randint(1, number // 2)))
    asked = rng.sample(main, min(len(main), number - aside)) + rng.sample(other, aside)
    rng.shuffle(asked)
    return asked


def _lay_out(asked: Asked, rng: random.Random) -> Question:
    options = [asked.answer, *asked.wrong]
    rng.shuffle(options)
    return Question(
        question=upper(asked.question),
        kind=asked.kind,
        options=tuple(upper(option) for option in options),
        answer=options.index(asked.answer),
        answer_text=_sentences([asked.told]),
    )


def _sentences(said: list[str]) -> str:
    return " ".join(f"{upper(sentence)}." for sentence in said)
