"""A user's own questions: what answers mean, and how mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import InputError, UsageError
from topa.evals import questions
from topa.evals.questions import FORMATS, UnfitQuestion

VIDEOS = Path("clips")
COLOURS = ["red", "blue", "green"]


def asked(tmp_path: Path, *items: dict | str) -> list:
    path = tmp_path / "own.jsonl"
    path.write_text("".join((i if isinstance(i, str) else json.dumps(i, ensure_ascii=False)) + "\n" for i in items))
    return list(questions.read("jsonl", path, VIDEOS))


def item(**changes) -> dict:
    told = {"video": "a.mp4", "question": "which colour ?", "options": COLOURS, "answer": 1}
    return {key: value for key, value in {**told, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        (COLOURS, 1, "blue"),
        (COLOURS, 0, "red"),
        (COLOURS, "B", "blue"),
        (COLOURS, "(c)", "green"),
        (COLOURS, "A.", "red"),
        (COLOURS, " green ", "green"),
        ([" red ", "blue"], "red", "red"),
        (["1", "2", "3"], "1", "1"),
        (["0", "1", "2"], 2, "2"),
        (["B", "A"], 1, "A"),
        (["a", "b"], "A", "a"),
    ],
)
def test_an_answer_is_an_index_a_letter_or_a_text(tmp_path, options, answer, right):
    (found,) = asked(tmp_path, item(options=options, answer=answer))
    assert found.question.right == right


@pytest.mark.parametrize(
    ("options", "answer", "words"),
    [
        (["B", "A"], "A", "which may mean 'B' and 'A'; expected the index"),
        (["1", "2", "3"], 1, "which may mean '1' and '2'; expected its text"),
        (COLOURS, 3, "the answer 3; expected an index from 0 to 2"),
        (COLOURS, -1, "the answer -1; expected an index from 0 to 2"),
        (COLOURS, "D", "the answer 'D'; expected an index from 0 to 2, a letter, or one of"),
        (COLOURS, "reddish", "the answer 'reddish'; expected"),
        (COLOURS, True, "the answer True; expected an index"),
        (COLOURS, 1.0, "the answer 1.0; expected an index"),
        (COLOURS, None, "no answer; expected an index"),
        (COLOURS, ..., "no answer; expected an index"),
    ],
)
def test_an_answer_that_may_mean_two_things_or_nothing(tmp_path, options, answer, words):
    with pytest.raises(InputError, match=r"own.jsonl, line 2: found ") as raised:
        asked(tmp_path, item(), item(options=options, answer=answer))
    assert words in str(raised.value)


def test_all_fields(tmp_path):
    told = item(id=7, kind="colour", start=1, end=2.5, answer_text="it is blue", description="A blue ball.")
    (found,) = asked(tmp_path, told)
    assert (found.id, found.video, found.start, found.end) == ("7", VIDEOS / "a.mp4", 1.0, 2.5)
    assert (found.question.kind, found.question.answer_text, found.description) == (
        "colour",
        "it is blue",
        "A blue ball.",
    )


def test_open_questions_and_strange_words(tmp_path):
    words = "Qu'est-ce,  «c'est» \u2028 猫?"
    found = asked(
        tmp_path, item(options=..., answer='a cat, "grey"'), "", item(options=None, question=words, answer="猫")
    )
    assert [q.question.right for q in found] == ['a cat, "grey"', "猫"]
    assert found[1].question.question == words
    assert [q.id for q in found] == ["line-1", "line-3"]
    assert found[0].question.options == ()


def test_options_that_repeat_are_named(tmp_path):
    first, second = asked(tmp_path, item(options=["red", "red ", "blue"], answer=2, id="x"), item())
    assert first == UnfitQuestion("x", "a.mp4", "options repeat", "red")
    assert second.question.right == "blue"


def test_fields_that_are_not_read_are_named(tmp_path, capsys):
    asked(tmp_path, item(difficulty="hard"), item(begin=3))
    assert "own.jsonl: fields that aren't read: difficulty, begin" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "malformed JSON"),
        ("[1]", "JSON of type list; expected one JSON object a line"),
        (item(video=...), "no video; expected a text under 'video'"),
        (item(video=" "), "video ' '; expected a text"),
        (item(question=3), "question 3; expected a text"),
        (item(options=[]), "options []; expected two texts or more"),
        (item(options=["red"]), "options ['red']; expected two texts or more"),
        (item(options="red"), "options 'red'; expected two texts or more"),
        (item(options=["red", ""]), "expected a text that isn't empty in each"),
        (item(options=["red", 2]), "expected a text that isn't empty in each"),
        (item(options=..., answer=1), "answer 1; expected a text under 'answer'"),
        (item(options=..., answer=" "), "answer ' '; expected a text under 'answer'"),
        (item(start=5, end=5), "start 5.0, end 5.0; expected 0 <= start < end"),
        (item(start=-1), "start -1.0, end None; expected 0 <= start < end"),
        (item(end=0), "start None, end 0.0; expected 0 <= start < end"),
        (item(start="1"), "start '1'; expected seconds"),
        ('{"video": "a.mp4", "question": "q", "answer": "a", "start": NaN}', "start nan; expected seconds"),
        (item(id=[]), "the id []; expected a text or a number"),
        (item(kind=""), "kind ''; expected a text"),
        (item(description=1), "description 1; expected a text"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, line, words):
    with pytest.raises(InputError) as raised:
        asked(tmp_path, item(), item(), line)
    assert "own.jsonl, line 3: found " in str(raised.value)
    assert words in str(raised.value)
    assert "Correct the file" in str(raised.value)


def test_ids_differ(tmp_path):
    with pytest.raises(InputError, match=r"line 2: found the id 'x' a second time; expected ids that differ"):
        asked(tmp_path, item(id="x"), item(id="x"))


def test_no_file_and_an_empty_one(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for name, words in (("gone.jsonl", "nothing there"), ("empty.jsonl", "an empty file")):
        with pytest.raises(InputError, match=words):
            list(questions.read("jsonl", tmp_path / name, VIDEOS))


def test_formats_have_names():
    assert [FORMATS.load(name).__module__.rpartition(".")[2] for name in FORMATS] == ["own", "nextqa", "star", "tvqa"]
    with pytest.raises(UsageError, match="unknown format 'nexqa'; did you mean 'nextqa'"):
        FORMATS.load("nexqa")
