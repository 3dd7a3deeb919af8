"""STAR's JSON: invented items in the published form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals import questions
from topa.evals.questions import UnfitQuestion, VideoQuestion
from topa.tideos.tideo import Question


def item(**changes) -> dict:
    told = {
        "question_id": "Interaction_T1_13",
        "question": "Which object was tidied up by the person?",
        "video_id": "6H78U",
        "start": 11.1,
        "end": 19.6,
        "answer": "The closet/cabinet.",
        "question_program": [{"function": "Situations", "value_input": []}],
        "choices": [
            {"choice_id": 2, "choice": "The closet/cabinet.", "choice_program": []},
            {"choice_id": 0, "choice": 'The "blanket", the café\'s.'},
            {"choice_id": 1, "choice": "The table."},
            {"choice_id": 3, "choice": "The clothes."},
        ],
        "situations": {"000263": {"rel_pairs": [["o000", "o001"]]}},
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not ...}


def asked(tmp_path: Path, *items: object) -> list:
    (tmp_path / "STAR_train.json").write_text(json.dumps(items, ensure_ascii=False))
    return list(questions.read("star", tmp_path / "STAR_train.json", tmp_path))


def test_choices_are_in_the_order_of_their_ids(tmp_path):
    (found,) = asked(tmp_path, item())
    options = ('The "blanket", the café\'s.', "The table.", "The closet/cabinet.", "The clothes.")
    question = Question(
        question="Which object was tidied up by the person?", kind="Interaction", options=options, answer=2
    )
    assert found == VideoQuestion("Interaction_T1_13", tmp_path / "6H78U.mp4", question, 11.1, 19.6)


def test_videos_in_their_own_folder(tmp_path):
    (tmp_path / "Charades_v1_480").mkdir()
    (tmp_path / "Charades_v1_480" / "6H78U.mp4").touch()
    (found,) = asked(tmp_path, item())
    assert found.video == tmp_path / "Charades_v1_480" / "6H78U.mp4"


def test_what_cannot_be_asked_is_named(tmp_path):
    twice = [
        {"choice_id": n, "choice": text} for n, text in enumerate(["The bag.", "The bag.", "The bed.", "The mat."])
    ]
    found = asked(
        tmp_path,
        item(choices=twice, answer="The bed."),
        item(answer="The moon."),
        item(start=5.0, end=5.0),
        item(answer=...),
    )
    assert found[:3] == [
        UnfitQuestion("Interaction_T1_13", "6H78U.mp4", "options repeat", "The bag."),
        UnfitQuestion("Interaction_T1_13", "6H78U.mp4", "the answer is none of the options", "The moon."),
        UnfitQuestion("Interaction_T1_13", "6H78U.mp4", "the part has no length", "5.0 to 5.0 s"),
    ]
    assert found[3].question.answer is None


@pytest.mark.parametrize(
    "wrong", ["text", 3, [], item(video_id=...), item(choices="abc"), item(start=None), item(choices=[{"choice": "x"}])]
)
def test_another_item_is_refused_with_its_line(tmp_path, wrong):
    with pytest.raises(InputError, match=r"STAR_train.json, line 1: found an item that isn't a question of STAR"):
        asked(tmp_path, item(), wrong)


def test_a_file_that_is_cut_off(tmp_path):
    (tmp_path / "STAR_train.json").write_text(json.dumps([item(), item()])[:-40])
    found = questions.read("star", tmp_path / "STAR_train.json", tmp_path)
    assert next(found).id == "Interaction_T1_13"
    with pytest.raises(InputError, match=r"malformed JSON|the end of the file"):
        next(found)
