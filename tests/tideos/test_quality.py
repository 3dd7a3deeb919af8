"""What is dropped is counted, what is kept is balanced, and giveaways are seen."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from topa.tideos.options import place_answer
from topa.tideos.quality import Checks, Cleaner, CleaningReport, Leakage, LeakageCounter, letters
from topa.tideos.tideo import Question, TextFrame, Tideo

NAMES = ("red", "blue", "green", "black", "white", "pink", "grey", "gold", "teal", "plum", "rust", "sand", "mint")


@dataclass(frozen=True)
class Cleaned:
    tideos: tuple[Tideo, ...]
    report: CleaningReport


def clean(tideos: list[Tideo], seed: int, checks: Checks | None = None) -> Cleaned:
    cleaner = Cleaner(seed, checks)
    return Cleaned(tuple(item.tideo for item in cleaner(tideos)), cleaner.report)


def leakage(tideos: list[Tideo]) -> Leakage:
    leaks = LeakageCounter()
    for tideo in tideos:
        leaks.add(tideo)
    return leaks.shares


def words(seed: str, count: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(NAMES) + rng.choice(NAMES) for _ in range(count))


def tideo(name: str, *questions: Question, text: str | None = None, **changes) -> Tideo:
    text = text or words(name, 60)
    whole = {"frames": (TextFrame(caption=text),), "description": f"a story about {name}", "questions": questions}
    return Tideo(id=name, **{**whole, **changes})


def question(*options: str, answer: int = 0, text: str = "what ?") -> Question:
    return Question(question=text, options=options or ("a", "b", "c"), answer=answer)


def test_every_drop_has_its_reason():
    text = words("base", 60)
    near = " ".join([*text.split()[:-2], "other", "end"])
    tideos = [
        tideo("base", text=text, description="one two three"),
        tideo("exact", text=text.upper() + " !", description="One two, three"),
        tideo("near", text=near, description="one two three"),
        tideo("far", text=" ".join(text.split()[:30]) + " " + words("far", 30), description="one two three"),
        tideo("base"),
        tideo("short", description="no"),
        tideo("long", frames=(TextFrame(caption="word " * 121),)),
        tideo("object", frames=(TextFrame(caption="fine", objects=("word " * 121,)),)),
        tideo("frames", frames=(TextFrame(caption="x"),) * 65),
        tideo("script", frames=(TextFrame(caption="кошка спит на ковре в большой комнате"),)),
        tideo("last"),
    ]
    result = clean(tideos, 0)
    assert [t.id for t in result.tideos] == ["base", "far", "last"]
    assert result.report.dropped == {
        "exact duplicate": {"count": 1, "examples": ["exact"]},
        "near duplicate": {"count": 1, "examples": ["near"]},
        "its id came before": {"count": 1, "examples": ["base"]},
        "the description is too short or too long": {"count": 1, "examples": ["short"]},
        "a caption is too short or too long": {"count": 2, "examples": ["long", "object"]},
        "too few or too many frames": {"count": 1, "examples": ["frames"]},
        "in another script": {"count": 1, "examples": ["script"]},
    }
    assert (result.report.read, result.report.kept) == (11, 3)
    exact_only = clean(tideos[:4], 0, Checks(near=1))
    assert [t.id for t in exact_only.tideos] == ["base", "near", "far"]
    assert [t.id for t in clean(tideos[:4], 0, Checks(near=0.2)).tideos] == ["base"]
    with pytest.raises(ValidationError):
        Checks(near=0)


def test_answers_are_balanced_and_stay_right():
    tideos = [tideo(str(i), question("w", "x", "y", "z", answer=1), question(answer=2)) for i in range(60)]
    result = clean(tideos, 3)
    assert result.report.before == {"B": 60, "C": 60}
    for number, size in ((0, 4), (1, 3)):
        places = Counter(t.questions[number].answer for t in result.tideos)
        assert places == dict.fromkeys(range(size), 60 // size)
    for old, new in zip(tideos, result.tideos, strict=True):
        for a, b in zip(old.questions, new.questions, strict=True):
            assert a.right == b.right
            assert sorted(a.options) == sorted(b.options)
    assert (
        result.report.after
        == Counter(a for t in result.tideos for a in letters(t))
        == {"A": 35, "B": 35, "C": 35, "D": 15}
    )
    assert clean(tideos, 3) == result
    assert clean(tideos, 4).tideos != result.tideos
    wrong = Counter(t.questions[0].options for t in result.tideos)
    assert len(wrong) > 12, "wrong options are permuted as well"


def test_options_that_speak_of_others_stay_and_the_rest_makes_up_for_them():
    fixed = [tideo(f"f{i}", question("x", "y", "both of them", answer=2)) for i in range(10)]
    free = [tideo(str(i), question("hand", "ball", "doll", answer=2)) for i in range(20)]
    result = clean(fixed + free, 0)
    assert [t.questions for t in result.tideos[:10]] == [t.questions for t in fixed]
    assert result.report.ordered == 10
    assert result.report.after == {"A": 10, "B": 10, "C": 10}


def test_open_questions_are_left_alone():
    open_question = Question(question="why ?", answer_text="because")
    unknown = Question(question="why ?", options=("a", "b"), answer_text="because")
    result = clean([tideo("a", open_question, unknown)], 0)
    assert result.tideos[0].questions == (open_question, unknown)
    assert (result.report.before, result.report.leakage.questions, result.report.leakage.longest) == ({}, 0, 0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_right_option_goes_where_it_is_asked_to(place):
    result = place_answer(question("a", "b", "c", answer=1), place, random.Random(0))
    assert (result.answer, result.right) == (place, "b")


def test_giveaways_are_seen():
    long = tideo("a", question("a very long option", "b", "c"))
    common = tideo("b", question("lid", "red ball", "box", "cup", answer=1, text="where is the ball ?"))
    result = leakage([long, common])
    assert result.questions == 2
    assert result.chance == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert result.longest == 1
    assert result.overlap == pytest.approx((1 / 3 + 1) / 2)
    alike = leakage([tideo("c", question("aa", "bb", "cc", "dd"))])
    assert (alike.chance, alike.longest, alike.overlap) == (0.25, 0.25, 0.25)
