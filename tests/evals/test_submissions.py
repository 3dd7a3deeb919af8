"""Submission files: the servers' forms, an entry for every record."""

from __future__ import annotations

import json

import pytest

from topa.core.errors import InputError
from topa.evals.catalogue import BENCHMARKS
from topa.evals.example import Example
from topa.evals.predictions import Prediction

from .sets.published import WRITERS


def answered(name: str, folder, choices: list[int | None], correct: list[float | None] | None = None):
    written = WRITERS[name](folder)
    examples: list[Example] = list(BENCHMARKS.load(name).read(folder, written.split))[: len(choices)]
    marks = correct or [None] * len(choices)
    predictions = [
        Prediction(id=e.id, choice=c, correct=m, error=None if c is not None else "the video is missing")
        for e, c, m in zip(examples, choices, marks, strict=True)
    ]
    value = BENCHMARKS.load(name).submission(examples, predictions)
    assert json.loads(json.dumps(value)) == value
    return examples, predictions, value


def test_egoschema_has_every_question(tmp_path) -> None:
    examples, _, value = answered("egoschema", tmp_path, [3, None, 0, 4])
    assert value == dict(zip((example.id for example in examples), (3, 0, 0, 4), strict=True))


def test_star_by_type(tmp_path) -> None:
    _, _, value = answered("star", tmp_path, [2, 1, None, 3, 0])
    assert list(value) == ["Interaction", "Sequence", "Prediction", "Feasibility"]
    assert value["Interaction"] == [{"question_id": "Interaction_T1_13", "answer": 2}]
    assert value["Prediction"] == [{"question_id": "Prediction_T1_0", "answer": 0}]
    assert [entry["answer"] for entry in value["Feasibility"]] == [3, 0]


def test_perception_by_video(tmp_path) -> None:
    _, _, value = answered("perception", tmp_path, [1, 2, None, 2])
    assert value == {
        "video_10909": [
            {"id": 0, "answer_id": 1, "answer": "two, or"},
            {"id": 3, "answer_id": 2, "answer": "three"},
        ],
        "video_1": [{"id": 0, "answer_id": 0, "answer": "one"}, {"id": 1, "answer_id": 2, "answer": "b"}],
    }


def test_mvbench_by_task(tmp_path) -> None:
    choices: list[int | None] = [0] * 40
    correct: list[float | None] = [1.0, 0.0, *[0.0] * 4, 1.0, 1.0, *[0.0] * 31, None]
    _, _, value = answered("mvbench", tmp_path, choices, correct)
    assert len(value) == 21
    assert (value["Action Sequence"], value["Fine-grained Action"], value["Action Antonym"]) == (50.0, 100.0, 0.0)
    assert "Fine-grained Pose" in value
    assert list(value)[-1] == "Avg"
    assert value["Avg"] == pytest.approx(100 * 3 / 40)


def test_a_run_that_is_not_over_is_refused(tmp_path) -> None:
    examples, predictions, _ = answered("egoschema", tmp_path, [3, None, 0, 4])
    submission = BENCHMARKS.load("egoschema").submission
    with pytest.raises(InputError, match="3 predictions for 4 records; expected one for each"):
        submission(examples, predictions[:3])
    with pytest.raises(InputError, match="stands where the record"):
        submission(examples, predictions[::-1])


def test_only_these_have_a_server() -> None:
    assert {name for name in WRITERS if BENCHMARKS.load(name).submission} == {
        "egoschema", "star", "perception", "mvbench"
    }  # fmt: skip
