"""What a Tideo and its questions may be, and that they survive JSON."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from topa.tideos.tideo import Question, TextFrame, Tideo

WHOLE: dict[str, Any] = {
    "id": "t1",
    "frames": [{"caption": "a red ball", "objects": ["ball", "a small cat"]}, {"caption": "Ünïcode – 球"}],
    "description": "a ball, then a sphere",
    "questions": [
        {"question": "what colour ?", "kind": "colour", "options": ["red", "blue"], "answer": 0, "answer_text": "red"},
        {"question": "why ?", "answer_text": "because"},
    ],
    "source": {"writer": "test", "seed": 3, "nested": {"a": [1, None]}},
}


def test_json_round_trip() -> None:
    tideo = Tideo.model_validate(WHOLE)
    assert Tideo.model_validate_json(tideo.model_dump_json()) == tideo
    assert tideo.frames[1] == TextFrame(caption="Ünïcode – 球")
    assert [q.right for q in tideo.questions] == ["red", "because"]
    assert "\n" not in tideo.model_dump_json()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"options": ["a"]}, "at least two options"),
        ({"options": ["a", "b", "a"], "answer": 1}, "options repeat"),
        ({"options": ["a", " a "], "answer": 1}, "options repeat"),
        ({"options": ["a", "b"], "answer": 2}, "answer 2 is not an index into 2 options"),
        ({"options": ["a", "b"], "answer": -1}, "answer -1 is not an index"),
        ({"answer": 0}, "an answer index without options"),
        ({"options": ["a", " "]}, "at least 1 character"),
        ({"answer_text": ""}, "at least 1 character"),
        ({"question": " \n"}, "at least 1 character"),
        ({"right": "a"}, "Extra inputs"),
    ],
)
def test_questions_that_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Question.model_validate({"question": "what ?", **bad})


def test_what_a_question_knows_of_its_answer() -> None:
    assert Question(question="?", options=("a", "b"), answer=1).right == "b"
    assert Question(question="?", options=("a", "b")).right is None
    assert Question(question="?", answer_text=" yes ").right == "yes"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"frames": []}, "at least 1 item"),
        ({"description": "  "}, "at least 1 character"),
        ({"id": ""}, "at least 1 character"),
        ({"frames": [{"caption": " "}]}, "at least 1 character"),
        ({"frames": [{"caption": "a", "objects": ["b", ""]}]}, "at least 1 character"),
        ({"frames": [{"caption": "a", "box": [0, 1]}]}, "Extra inputs"),
        ({"title": "a"}, "Extra inputs"),
    ],
)
def test_tideos_that_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Tideo.model_validate(WHOLE | bad)


@pytest.mark.parametrize("field", ["id", "frames", "description"])
def test_nothing_needed_may_be_missing(field: str) -> None:
    with pytest.raises(ValidationError, match="Field required"):
        Tideo.model_validate({k: v for k, v in WHOLE.items() if k != field})


def test_tideos_do_not_change() -> None:
    tideo = Tideo.model_validate(WHOLE)
    with pytest.raises(ValidationError, match="frozen"):
        tideo.description = "another"  # type: ignore[misc]
