"""Every question is answered again by an oracle that knows only the scenes and the English; wording gives nothing away.

The oracle judges each option on its own: exactly one may be true, and it must be the one marked as right.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

import pytest

from topa.microworld import questions
from topa.microworld.questions import KINDS_OF_QUESTION, OPTIONS, TIME_KINDS, Balance, candidates, lay_out
from topa.microworld.world import COLOURS, KINDS, PLACES, POSITIONS, Scene, Story, write_story
from topa.tideos.tideo import Question

STORIES = 2500
NUMBER = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
PLURALS = {"toys": "kind", "colours": "colour", "places": "place"}


def squeeze(values: Sequence[str]) -> list[str]:
    return [v for i, v in enumerate(values) if i == 0 or values[i - 1] != v]


def movement(before: Scene, after: Scene) -> str:
    """What the toy did, in the words of the options."""
    if before.colour != after.colour:
        return f"it turns {after.colour}"
    if before.size != after.size:
        return {"large": "it grows", "small": "it shrinks"}[after.size]
    if before.position != after.position:
        return f"it moves to the {after.position}"
    return f"it goes to the {after.place}"


def is_true(question: str, option: str, scenes: Sequence[Scene]) -> bool:
    """Whether an option answers a question about these scenes."""
    if question == "which toy appears in the video ?":
        return any(s.kind == option for s in scenes)
    if match := re.fullmatch(r"(where|where in the picture|what colour) is the toy at the (start|end) \?", question):
        return is_named(match[1], option, scenes[{"start": 0, "end": -1}[match[2]]])
    if match := re.fullmatch(r"(where|where in the picture|what colour) is the (\w+) \?", question):
        visible = [s for s in scenes if s.kind == match[2]]
        return bool(visible) and all(is_named(match[1], option, s) for s in visible)
    if question == "how big is the toy over the whole video ?":
        course = squeeze([s.size for s in scenes])
        if len(course) > 2:
            return option == "it changes more than once"
        return option == (f"always {course[0]}" if len(course) == 1 else f"{course[0]} then {course[1]}")
    if question == "how many different toys appear ?":
        return NUMBER[option] == len({s.kind for s in scenes})
    if match := re.fullmatch(r"in how many scenes is the toy (\w+) \?", question):
        return NUMBER[option] == sum(s.colour == match[1] for s in scenes)
    if match := re.fullmatch(r"what does the (\w+) do \?", question):
        visible = [s for s in scenes if s.kind == match[1]]
        movements = [movement(a, b) for a, b in itertools.pairwise(visible) if a != b]
        assert visible
        assert len(movements) < 2
        return option == (movements[0] if movements else "it stays the same")
    if match := re.fullmatch(r"in which order (?:do the|are the) (\w+) (?:appear|shown) \?", question):
        return option.split(" , ") == squeeze([getattr(s, PLURALS[match[1]]) for s in scenes])
    if match := re.fullmatch(r"(?:which|what) (toy|colour) comes right (before|after) (?:the )?(\w+) \?", question):
        values = squeeze([s.kind if match[1] == "toy" else s.colour for s in scenes])
        pairs = list(itertools.pairwise(values))
        return ((match[3], option) if match[2] == "after" else (option, match[3])) in pairs
    if match := re.fullmatch(r"what changes between scene (\d) and scene (\d) \?", question):
        before, after = scenes[int(match[1]) - 1], scenes[int(match[2]) - 1]
        field = option.removeprefix("the ")
        if field == "toy":
            return before.kind != after.kind
        return before.kind == after.kind and getattr(before, field) != getattr(after, field)
    pytest.fail(f"a question that the oracle doesn't know: {question!r}")


def is_named(what: str, option: str, scene: Scene) -> bool:
    if what == "what colour":
        return option == scene.colour
    names = POSITIONS if what == "where in the picture" else PLACES
    mentions = [name for name in names if name in option.split()]
    assert len(mentions) == 1, option
    return mentions[0] == (scene.position if what == "where in the picture" else scene.place)


@cache
def balanced() -> list[tuple[Story, Question]]:
    """A balanced set, as a writer gives it out."""
    rng = random.Random("balanced")
    balance = Balance(rng)
    stories = [write_story(rng) for _ in range(STORIES)]
    return [(story, question) for story in stories for question in balance.choose(story, 6)]


def all_questions() -> Iterator[tuple[Story, Question]]:
    rng = random.Random("all")
    for _ in range(800):
        story = write_story(rng)
        for kind in KINDS_OF_QUESTION:
            for candidate in candidates(story, kind):
                yield story, lay_out(candidate, rng)


def test_the_oracle_agrees_with_every_answer() -> None:
    kinds: Counter[str] = Counter()
    for story, question in itertools.chain(all_questions(), balanced()):
        kinds[question.kind] += 1
        true = [o for o in question.options if is_true(question.question, o, story.scenes)]
        assert true == [question.right], (question, story)
        assert question.answer is not None
        assert question.options[question.answer] == question.answer_text
        assert len(question.options) == len(set(question.options)) == OPTIONS == 5
    assert set(kinds) == set(KINDS_OF_QUESTION)
    assert min(kinds.values()) > 700


def test_a_story_is_asked_at_most_one_question_of_a_kind() -> None:
    kinds: defaultdict[int, list[str]] = defaultdict(list)
    for story, question in balanced():
        kinds[id(story)].append(question.kind)
    assert all(len(of_one) == len(set(of_one)) <= 6 for of_one in kinds.values())
    assert len(balanced()) > 4 * STORIES


def template(text: str) -> str:
    """A question without the names in it."""
    return " ".join("#" if w in KINDS or w in COLOURS else w for w in text.split())


def test_within_a_template_answers_are_balanced() -> None:
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    offered: defaultdict[str, set[str]] = defaultdict(set)
    for _, question in balanced():
        answers[template(question.question)][str(question.right)] += 1
        offered[template(question.question)].update(question.options)
    assert len(answers) > 15
    for text, counts in answers.items():
        if text.startswith("in which order"):
            continue  # too many different orders; see the blind attack
        amounts = [counts[option] for option in offered[text]]
        assert max(amounts) - min(amounts) <= 3, (text, counts)


def test_the_right_option_is_anywhere() -> None:
    places = Counter(question.answer for _, question in balanced())
    expected = len(balanced()) / OPTIONS
    assert sum((places[i] - expected) ** 2 / expected for i in range(OPTIONS)) < 18.5  # chi squared, 4 df, p = .001


def features(question: Question, index: int) -> list[tuple[object, ...]]:
    """What a blind reader may look at: option, its place, its words against the question's, the options beside it."""
    option, question_text = question.options[index], question.question
    keys: list[tuple[object, ...]] = [("option", option), ("place", index), ("exact", question_text, option)]
    keys += [("form", template(question_text), option), ("length", template(question_text), len(option.split()))]
    keys += [("words", a, b) for a in set(question_text.split()) for b in set(option.split())]
    keys += [("beside", template(question_text), option, other) for other in question.options if other != option]
    return keys


def attack(train: list[Question], test: list[Question]) -> tuple[float, dict[str, float]]:
    """Naive Bayes on options: accuracy on the test half, overall and by kind."""
    right: Counter[object] = Counter()
    wrong: Counter[object] = Counter()
    for question in train:
        for i in range(OPTIONS):
            (right if i == question.answer else wrong).update(features(question, i))
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for question in test:
        scores = [
            sum(math.log((right[f] + 1) / (wrong[f] / (OPTIONS - 1) + 1)) for f in features(question, i))
            for i in range(OPTIONS)
        ]
        hits[question.kind].append(scores.index(max(scores)) == question.answer)
    by_kind = {kind: sum(h) / len(h) for kind, h in hits.items()}
    return sum(map(sum, hits.values())) / len(test), by_kind


def test_a_trained_blind_reader_stays_at_chance() -> None:
    rows = [question for _, question in balanced()]
    accuracy, by_kind = attack(rows[::2], rows[1::2])
    assert accuracy < 1 / OPTIONS + 0.05
    assert all(share < 1 / OPTIONS + 0.08 for share in by_kind.values()), by_kind


def test_the_blind_reader_would_find_a_leak() -> None:
    """The same attack on questions drawn without balance is well above chance: the test above can fail."""
    rng = random.Random("unbalanced")
    leaky = []
    for _ in range(STORIES):
        story = write_story(rng)
        kind = rng.choice(("size", "count", "action", "what_changed"))
        if possible := candidates(story, kind):
            leaky.append(lay_out(rng.choice(possible), rng))
    assert attack(leaky[::2], leaky[1::2])[0] > 1 / OPTIONS + 0.1


def test_an_order_cannot_be_told_from_the_frames_alone() -> None:
    """The same frames in another order make another option right, and a wrong one true: the frames don't tell."""
    orders = [(story, q) for story, q in balanced() if q.kind == "order"]
    assert orders
    for story, question in orders:
        true = {
            option
            for scenes in itertools.permutations(story.scenes)
            for option in question.options
            if is_true(question.question, option, scenes)
        }
        assert true == set(question.options)


def test_with_three_toys_before_and_after_need_the_order() -> None:
    pairs = [
        (story, q)
        for story, q in all_questions()
        if q.kind == "before_after" and "toy" in q.question and len({s.kind for s in story.scenes}) > 2
    ]
    assert len(pairs) > 100
    for story, question in pairs:
        toys = {s.kind for s in story.scenes}
        assert len(toys & set(question.options)) == min(len(toys) - 1, OPTIONS)  # the video's own toys mislead
        true = {
            option
            for scenes in itertools.permutations(story.scenes)
            for option in question.options
            if is_true(question.question, option, scenes)
        }
        assert len(true) > 1


def test_kinds_about_time_exist() -> None:
    assert set(TIME_KINDS) < set(KINDS_OF_QUESTION)


def test_equal_seeds_give_equal_questions() -> None:
    def draw(seed: int) -> list[tuple[Question, ...]]:
        rng = random.Random(seed)
        balance = Balance(rng)
        return [balance.choose(write_story(rng), 4) for _ in range(40)]

    assert draw(1) == draw(1) != draw(2)


def test_a_wrong_answer_of_the_maker_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(story: Story) -> Iterator[questions.Candidate]:
        other = next(c for c in COLOURS if c != story.scenes[0].colour)
        text = "what colour is the toy at the start ?"
        yield questions.Candidate("colour", text, text, other, COLOURS)

    monkeypatch.setitem(questions._MAKERS, "colour", lying)
    story = write_story(random.Random(0))
    question = lay_out(candidates(story, "colour")[0], random.Random(0))
    assert not is_true(question.question, str(question.right), story.scenes)
