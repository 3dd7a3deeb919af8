"""Temporal primitives: true to their plan, in plain English, and silent about the answer to whoever can't see."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from topa.microworld import primitive_words
from topa.microworld.primitive_tracks import (
    Asked,
    Changing,
    Motion,
    Process,
    Repeated,
    TakingTurns,
    Track,
    Varying,
    article,
    course,
)
from topa.microworld.primitive_words import BOTH, COURSES, NUMBERS, TIMES
from topa.microworld.primitives import THEMES, plan, tell, write_primitives
from topa.tideos.quality import Cleaner, Leaks, words
from topa.tideos.tideo import Question, Tideo

SEED = 11
TRACKS = (Motion, TakingTurns, Repeated, Varying, Changing, Process)


@pytest.fixture(scope="module")
def many() -> list[Tideo]:
    return list(write_primitives(2500, SEED))


def draws(kind: type[Track], count: int = 300) -> Iterator[tuple[Track, random.Random]]:
    for number in range(count):
        rng = random.Random(f"{kind.__name__} {number}")
        yield kind.draw(rng.choice(BOTH), rng.randint(kind.least, 15), rng), rng


def backwards(track: Track) -> Track:
    return replace(track, values=track.values[::-1])


def texts(tideo: Tideo) -> Iterator[str]:
    yield tideo.description
    for frame in tideo.frames:
        yield frame.caption
        yield from frame.objects
    for q in tideo.questions:
        yield from (q.question, *q.options, q.answer_text or "")


def answers(track: Track, rng: random.Random) -> dict[str, str]:
    """All questions that draws of `ask` give, in their several wordings, and the answers."""
    return {asked.question: asked.answer for _ in range(60) for asked in track.ask(rng)}


def test_their_shape(many):
    for number, tideo in enumerate(many):
        assert tideo.id == f"primitives-{SEED}-{number:06d}"
        assert 5 <= len(tideo.frames) <= 15
        assert all(1 <= len(frame.objects) <= 4 for frame in tideo.frames)
        assert tideo.description.count(". ") >= 2
        assert 3 <= len(tideo.questions) <= 5
        assert len({q.question for q in tideo.questions}) == len(tideo.questions)
        theme = tideo.source["theme"]
        assert tideo.source == {
            "writer": "primitives",
            "seed": SEED,
            "number": number,
            "seed_kind": "primitives",
            "theme": theme,
        }
        kinds = Counter(q.kind for q in tideo.questions)
        assert kinds[theme] == max(kinds.values())
        for q in tideo.questions:
            assert len(q.options) == 5
            assert set(words(q.right)) - {"a", "an", "the"} <= set(words(q.answer_text))
    assert {t.source["theme"] for t in many} == {q.kind for t in many for q in t.questions} == set(THEMES)


def test_number_n_is_the_same_whatever_is_asked_for(many):
    assert list(write_primitives(40, SEED)) == many[:40]
    assert next(itertools.islice(write_primitives(30, SEED), 29, None)) == many[29]
    other = next(write_primitives(1, SEED + 1))
    assert other.frames != many[0].frames
    # Nothing is drawn before it is asked for.
    assert next(write_primitives(10**12, SEED)) == many[0]


def test_another_process_writes_the_same(many):
    code = (
        "import hashlib\nfrom topa.microworld.primitives import write_primitives\n"
        f"text = ''.join(t.model_dump_json() for t in write_primitives(60, {SEED}))\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = "".join(tideo.model_dump_json() for tideo in many[:60])
    assert done.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


def test_the_english(many):
    wrong = re.compile(
        r"\ba [aeiou]|\ban [^aeiou]|\b(\w+) \1\b|\b(a|an|the) (a|an|the)\b|  |[,.?] ?[,.?]|[{}]", re.IGNORECASE
    )
    sentences = re.compile(r"([A-Z][^.?]*\. )*[A-Z][^.?]*[.?]")
    for tideo in many:
        for text in texts(tideo):
            assert not wrong.search(text), text
        for text in (tideo.description, *(f.caption for f in tideo.frames), *(q.answer_text for q in tideo.questions)):
            assert sentences.fullmatch(text), text
        for q in tideo.questions:
            assert q.question.endswith("?")
            assert all(option[0].isupper() for option in q.options)
    assert (article("orange kite"), article("kite")) == ("an orange kite", "a kite")
    # The rule for "an" looks at the first letter: no phrase may begin with a word that sounds other than it looks.
    assert not [p for p in phrases(vars(primitive_words)) if re.match(r"(uni|use|eu|one |hour|hon|heir)", p)]


def phrases(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        for key, value in found.items():
            if not str(key).startswith("__"):
                yield from phrases(value)
    elif isinstance(found, tuple | list):
        for item in found:
            yield from phrases(item)


def test_captions_are_about_one_moment(many):
    told = re.compile(
        r"\b(frames?|cameras?|videos?|mov(e|es|ing)|go(es|ing)?|turns|becomes|now|then|again|still|already|next time|"
        r"first|last|after|before|once|twice|times|start)\b",
        re.IGNORECASE,
    )
    for tideo in many:
        for frame in tideo.frames:
            for text in (frame.caption, *frame.objects):
                assert not told.search(text), text
                assert len(text.split()) <= 60  # CLIP reads 77 tokens


def test_frames_show_what_was_planned():
    """Each track's value is in the caption and in the objects, in one of its phrases."""
    for number in range(300):
        rng = random.Random(f"primitives {SEED} {number}")
        planned = plan(rng)
        tideo = tell(planned, rng, "x", {})
        assert len(tideo.frames) == planned.frames
        for at, frame in enumerate(tideo.frames):
            for track in planned.tracks:
                sight = track.sights[track.values[at]]
                for text in (frame.caption.lower(), "\n".join(frame.objects).lower()):
                    assert sight.a.lower() in text
                    assert any(does.removeprefix("is ").lower() in text for does in sight.does)
        assert len({noun for track in planned.tracks for noun in track.nouns}) == sum(
            len(t.nouns) for t in planned.tracks
        )


def test_many_words(many):
    captions = [frame.caption for tideo in many for frame in tideo.frames]
    assert len(set(captions)) > 0.9 * len(captions)
    assert len({word for caption in captions for word in words(caption)}) > 700
    assert len({q.question for t in many for q in t.questions}) > 5000
    cleaner = Cleaner(0)
    assert sum(1 for _ in cleaner(many)) == len(many)
    report = cleaner.report
    assert (report.kept, report.dropped) == (len(many), {})


@pytest.mark.parametrize("axis", COURSES)
def test_a_course_backwards_is_the_opposite_course(axis):
    seen = Counter()
    for track, rng in draws(Motion, 1200):
        if track.axis != axis:
            continue
        way = course(axis, track.values)
        seen[way] += 1
        back = backwards(track)
        assert course(axis, back.values) == {0: 1, 1: 0, 2: 2, 3: 3}[way]
        there, here = back.ask(rng), track.ask(rng)
        assert here[0].answer == COURSES[axis][way]
        assert (there[1].answer, there[2].answer) == (here[2].answer, here[1].answer)
        assert back.sights == track.sights
        if way < 2:
            assert there[0].answer != here[0].answer
            assert there[0].answer in here[0].wrong
    assert set(seen) == {0, 1, 2, 3}
    assert min(seen.values()) >= 10


def test_without_their_order_frames_leave_more_than_one_course():
    """There and back, its frames in another order, is a way there, which is an option too."""
    for track, _ in draws(Motion, 600):
        way = course(track.axis, track.values)
        if way < 2:
            continue
        steps = [b - a for a, b in itertools.pairwise(track.values)]
        if track.axis == "round":
            steps = [(step + 4) % 8 - 4 for step in steps]
        straight = sorted(itertools.accumulate(steps, initial=track.values[0]))
        values = tuple(place % 8 if track.axis == "round" else place for place in straight)
        assert sorted(values) == sorted(track.values)
        assert course(track.axis, values) == 0
        assert (track.axis, 0) in track.ways


@pytest.mark.parametrize(
    ("axis", "positions", "expected"),
    [
        ("across", (0, 0, 2, 4), 0),
        ("across", (4, 1, 1), 1),
        ("across", (1, 3, 2, 1), 2),
        ("across", (3, 0, 3), 3),
        ("across", (1, 3, 2), None),
        ("across", (2, 2, 2), None),
        ("across", (0, 2, 1, 3), None),
        ("round", (6, 7, 0, 1), 0),
        ("round", (1, 7, 6, 4), 1),
        ("round", (7, 1, 2, 0, 7), 2),
    ],
)
def test_what_a_course_is(axis, positions, expected):
    assert course(axis, positions) == expected


@pytest.mark.parametrize("kind", [TakingTurns, Changing])
def test_backwards_first_is_last_and_before_is_after(kind):
    swaps = {
        " first": " last",
        "right before": "right after",
        "at the start": "at the end",
        "At the start": "At the end",
    }
    swaps |= {b: a for a, b in swaps.items()}
    pattern = re.compile("|".join(swaps))
    checked = Counter()
    for track, rng in draws(kind, 80):
        forth, back = answers(track, rng), answers(backwards(track), rng)
        for question, answer in forth.items():
            other = pattern.sub(lambda found: swaps[found[0]], question)
            if other != question:
                assert back[other] == answer
                checked[pattern.search(question)[0]] += 1
            elif question in back:  # the order of three, the change from start to end
                assert back[question] != answer
                checked["order"] += 1
    assert {"right before", "right after", "order"} <= set(checked)
    assert len(checked) >= 5


@pytest.mark.parametrize("kind", [TakingTurns, Changing])
def test_all_that_is_seen_can_be_chosen(kind):
    """But for what the question names. So two options at least are seen, and only their order tells them apart."""
    for track, rng in draws(kind):
        runs = set(track.values)
        seen = {track.sights[v].a for v in runs} if kind is TakingTurns else {track.labels[v] for v in runs}
        *asked, _ = track.ask(rng)
        assert len(asked) == 4
        for one in asked:
            left = seen - {one.answer, *one.wrong}
            assert all(name.split(" ", 1)[-1] in one.question for name in left)
            assert len(left) == ("right" in one.question)


def test_counts_are_those_of_the_frames():
    for track, rng in draws(Repeated):
        (asked,) = track.ask(rng)
        begun = sum(b > a for a, b in itertools.pairwise(track.values))
        assert track.values[0] == 0
        assert asked.answer == TIMES[begun - 1]
        assert {asked.answer, *asked.wrong} == set(TIMES)
    for track, rng in draws(Varying):
        start, end = track.ask(rng)
        assert (start.answer, end.answer) == (NUMBERS[track.values[0]], NUMBERS[track.values[-1]])
        assert len(set(track.values)) >= 2
        assert track.sights[track.values[0]].a.split()[0] == start.answer


def test_a_process_goes_one_way():
    for track, rng in draws(Process):
        assert list(track.runs) == sorted(set(track.values))
        assert len(track.runs) >= 2
        (asked,) = track.ask(rng)
        assert asked.answer == track.labels[track.values[-1 if track.end else 0]]


@pytest.mark.parametrize("kind", TRACKS)
def test_every_option_is_right_as_often_as_not(kind):
    """Of the times that a text is an option, it is right in a fifth, whatever the question's place in `ask` is."""
    offered, right = Counter(), Counter()
    for track, rng in draws(kind, 4000):
        for place, asked in enumerate(track.ask(rng)):
            assert len({asked.answer, *asked.wrong}) == 5
            if kind is TakingTurns:
                asked = bare(asked, place)
            offered.update((place, option) for option in (asked.answer, *asked.wrong))
            right[place, asked.answer] += 1
    common = [option for option, times in offered.items() if times >= 150]
    assert len(common) >= 5
    for option in common:
        deviation = math.sqrt(0.16 / offered[option])
        assert abs(right[option] / offered[option] - 0.2) < 4.5 * deviation, (option, right[option], offered[option])


def bare(asked: Asked, place: int) -> Asked:
    """The same without colours: nouns alone are often enough the same."""
    if place == 4:
        return asked
    found = [option.split(" in ")[0].split()[-1] for option in (asked.answer, *asked.wrong)]
    return replace(asked, answer=found[0], wrong=tuple(found[1:]))


def test_positions_and_counts_are_even():
    places = {0: Counter(), -1: Counter()}
    for track, _ in draws(Motion, 6000):
        if track.axis != "round":
            for at in places:
                places[at][track.values[at]] += 1
    times = Counter(track.times for track, _ in draws(Repeated, 3000))
    for found in (*places.values(), times):
        assert len(found) == 5
        for number in found.values():
            assert abs(number / found.total() - 0.2) < 4.5 * math.sqrt(0.16 / found.total())


def test_the_wording_gives_nothing_away(many):
    leaks = Leaks()
    for tideo in many[:2000]:
        leaks.add(tideo)
    told = leaks.shares
    assert told.questions > 6000
    assert told.longest < 0.24
    assert told.overlap < 0.24
    places = Counter(q.answer for t in many for q in t.questions)
    for number in places.values():
        assert abs(number / places.total() - 0.2) < 4.5 * math.sqrt(0.16 / places.total())


SLOTS = 1 << 18


def slots(question: Question, option: str) -> np.ndarray:
    """The option's words, alone and each with each word of the question, hashed."""
    asked = ["", question.kind, *words(question.question)]
    return np.array([zlib.crc32(f"{a} {b}".encode()) % SLOTS for a in asked for b in words(option)])


def blind_reader(training: list[Question]) -> np.ndarray:
    """Naive Bayes: how much more likely each slot is in a right option than in a wrong one, as a logarithm."""
    counts = np.ones((2, SLOTS))
    for question in training:
        for number, option in enumerate(question.options):
            np.add.at(counts[int(number == question.answer)], slots(question, option), 1)
    return np.diff(np.log(counts / counts.sum(axis=1, keepdims=True)), axis=0)[0]


def accuracy(weights: np.ndarray, held_out: list[Question]) -> float:
    right = [
        int(np.argmax([weights[slots(question, option)].mean() for option in question.options])) == question.answer
        for question in held_out
    ]
    return float(np.mean(right))


def test_a_blind_reader_learns_nothing_from_them(many):
    training, held_out = ([q for t in part for q in t.questions] for part in (many[:2000], many[2000:]))
    assert len(held_out) > 1500
    assert accuracy(blind_reader(training), held_out) < 0.27


def test_the_blind_reader_would_learn(many):
    """The same reader on the same questions, where of the five the option that is first in the alphabet is right."""

    def leaky(part: list[Tideo]) -> list[Question]:
        found = [q for t in part for q in t.questions]
        return [q.model_copy(update={"answer": q.options.index(min(q.options))}) for q in found]

    assert accuracy(blind_reader(leaky(many[:600])), leaky(many[2000:2200])) > 0.5
