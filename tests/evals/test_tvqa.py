"""TVQA's JSON Lines: invented lines in the published form, time stamps that are no numbers among them."""

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
        "a0": "A martini glass.",
        "a1": 'Nachos, "hot"',
        "a2": "Her purse",
        "a3": "Marshall's book",
        "a4": "A beer “bottle”",
        "answer_idx": 4,
        "q": "What is Robin holding in her hand when she is talking to Ted?",
        "qid": 7,
        "show_name": "How I Met You Mother",
        "ts": "1.21-8.49",
        "vid_name": "met_s06e22_seg01_clip_02",
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not ...}


def asked(tmp_path: Path, *items: object) -> list:
    path = tmp_path / "tvqa_train.jsonl"
    path.write_text("".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items))
    return list(questions.read("tvqa", path, tmp_path))


def test_a_line(tmp_path):
    (found,) = asked(tmp_path, item())
    told = item()
    question = Question(question=told["q"], kind=told["show_name"], options=[told[f"a{n}"] for n in range(5)], answer=4)
    assert found == VideoQuestion("7", tmp_path / "met_s06e22_seg01_clip_02.mp4", question, 1.21, 8.49)


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ("nan-nan", (None, None)),
        ("NaN-NaN", (None, None)),
        ("nan-8.5", (None, 8.5)),
        ("3-nan", (3.0, None)),
        ("0-90.01", (0.0, 90.01)),
        ("1.5 - 2", (1.5, 2.0)),
    ],
)
def test_time_stamps(tmp_path, stamps, expected):
    (found,) = asked(tmp_path, item(ts=stamps))
    assert (found.start, found.end) == expected


def test_what_cannot_be_asked_is_named(tmp_path):
    found = asked(tmp_path, item(a0="Her purse", qid=1), item(ts="8.5-8.5", qid=2), item(answer_idx=..., qid=3))
    assert found[0] == UnfitQuestion("1", "met_s06e22_seg01_clip_02.mp4", "options repeat", "Her purse")
    assert found[1] == UnfitQuestion("2", "met_s06e22_seg01_clip_02.mp4", "the part has no length", "8.5 to 8.5 s")
    assert (found[2].id, found[2].question.answer) == ("3", None)


@pytest.mark.parametrize("wrong", [{"ts": "1.2"}, {"ts": "a-b"}, {"a3": ...}, {"vid_name": ...}, {"answer_idx": "x"}])
def test_another_line_is_refused(tmp_path, wrong):
    with pytest.raises(InputError, match=r"tvqa_train.jsonl, line 2: found a line that isn't a question of TVQA"):
        asked(tmp_path, item(), item(**wrong))
