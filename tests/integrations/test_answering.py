"""What a harness is answered is what the engine answers itself."""

from __future__ import annotations

import pytest

import topa.integrations.answering as answering
from topa.core.errors import UsageError
from topa.integrations.answering import HarnessAnswerer
from topa.integrations.requests import documents, open_questions
from topa.microworld.writer import MicroVideo

from .harness import Task, broken, docs_of


def losses(engine, task, protocol=None, together=4, tell=None):
    asked = documents(task.likelihoods(), task.datasets)
    return HarnessAnswerer(engine, protocol, together, tell or [].append, show=False).losses(asked)


def texts(engine, task, tell=None, together=4, **settings):
    asked = open_questions(task.openly(**settings), task.datasets)
    return HarnessAnswerer(engine, None, together, tell or [].append, show=False).texts(asked)


@pytest.mark.parametrize("protocol", ["logits", "selection"])
def test_losses_are_the_engines_own(engine, videos: list[MicroVideo], protocol):
    task = Task(docs_of(videos))
    found = losses(engine, task, protocol)
    own = [engine.ask(v.path, q.question, q.options, protocol=protocol) for v in videos for q in v.questions]
    assert len(found) == len(own) == 9
    for mine, theirs in zip(found, own, strict=True):
        assert [loss for loss, _ in mine] == pytest.approx(list(theirs.scores), abs=1e-4)
        assert min(range(len(mine)), key=lambda at: mine[at][0]) == theirs.choice


def test_similarity_takes_the_nearest_option(engine, videos):
    said = engine.ask(videos[0].path, "what colour is the toy at the end ?").text
    doc = {"visual": [str(videos[0].path)], "question": "what colour is the toy at the end ?", "answer": 0}
    (row,) = losses(engine, Task([doc | {"options": ["a very long road", said]}]), "similarity")
    assert row[1][0] == pytest.approx(0, abs=1e-5)
    assert row[0][0] > row[1][0]


def test_how_many_are_asked_together_changes_nothing(engine, videos):
    task = Task(docs_of(videos))
    one, all_ = (losses(engine, task, together=together) for together in (1, 9))
    for a, b in zip(one, all_, strict=True):
        assert [loss for loss, _ in a] == pytest.approx([loss for loss, _ in b], abs=1e-4)
        assert [greedy for _, greedy in a] == [greedy for _, greedy in b]
    assert texts(engine, task, together=1) == texts(engine, task, together=9)


def test_greedy_marks_the_option_that_would_be_said(engine, videos):
    docs = docs_of(videos)
    said = [engine.ask(doc["visual"][0], doc["question"]).text for doc in docs]
    for doc, own in zip(docs, said, strict=True):
        doc["options"] = [f"{own} then", own, own.split()[0] + " zebra"]
    for row in losses(engine, Task(docs)):
        assert [greedy for _, greedy in row] == [False, True, False]


def test_an_option_alone_is_scored_as_a_free_answer(engine, videos):
    doc = docs_of(videos)[0]
    alone = Task([doc | {"options": [option]} for option in doc["options"]])
    together = losses(engine, Task([doc]), "logits")[0]
    for protocol in ("logits", "selection"):
        found = [row[0][0] for row in losses(engine, alone, protocol)]
        assert found == pytest.approx([loss for loss, _ in together], abs=1e-4)


def test_answers_are_the_engines_own(engine, videos):
    docs = docs_of(videos)
    own = [engine.ask(doc["visual"][0], doc["question"]).text for doc in docs]
    assert texts(engine, Task(docs), max_new_tokens=40) == own


def test_an_empty_question_asks_for_a_description(engine, videos):
    doc = {"visual": [str(videos[0].path)], "question": "", "options": [], "answer": 0}
    assert texts(engine, Task([doc])) == [engine.caption(videos[0].path).text]


def test_answers_end_where_the_task_says(engine, videos):
    doc = {"visual": [str(videos[0].path)], "question": "", "options": [], "answer": 0}
    words = engine.caption(videos[0].path).text.split()
    assert texts(engine, Task([doc]), max_new_tokens=3)[0].split() == words[:3]
    assert texts(engine, Task([doc]), until=[words[2]]) == [" ".join(words[:2])]


def test_each_answer_has_its_own_limit(engine, videos):
    doc = {"visual": [str(videos[0].path)], "question": "", "options": [], "answer": 0}
    task = Task([doc])
    asked = [
        *open_questions(task.openly(max_new_tokens=2), task.datasets),
        *open_questions(task.openly(), task.datasets),
    ]
    short, whole = HarnessAnswerer(engine, None, 2, [].append, show=False).texts(asked)
    assert len(short.split()) == 2
    assert whole == engine.caption(videos[0].path).text


def test_a_video_is_looked_at_once(engine, videos, monkeypatch):
    looked = []

    def counted(path, *rest):
        looked.append(path)
        return encode_video(path, *rest)

    encode_video = answering.encode_video
    monkeypatch.setattr(answering, "encode_video", counted)
    docs = docs_of(videos)
    task = Task([docs[n] for n in (0, 3, 6, 1, 4, 7, 2, 5, 8)])
    answers = HarnessAnswerer(engine, None, 2, [].append, show=False)
    answers.losses(documents(task.likelihoods(), task.datasets))
    answers.texts(open_questions(task.openly(), task.datasets))
    assert sorted(looked) == sorted(str(video.path) for video in videos)


def test_few_videos_are_kept(engine, videos, monkeypatch):
    monkeypatch.setattr(answering, "_MAX_VIDEOS", 1)
    task = Task(docs_of(videos))
    answers = HarnessAnswerer(engine, None, 4, [].append, show=False)
    found = answers.losses(documents(task.likelihoods(), task.datasets))
    assert len(answers._inputs) == 1
    assert [[g for _, g in row] for row in found] == [[g for _, g in row] for row in losses(engine, task)]


@pytest.mark.parametrize("right", [0, 1, [0, 1]])
def test_a_video_that_cannot_be_read_is_counted_wrong_and_told(engine, videos, tmp_path, right):
    docs = docs_of(videos)[:2]
    bad = {"visual": [str(broken(tmp_path))], "question": "what ?", "options": ["red", "blue", "one"], "answer": right}
    told: list[str] = []
    whole, lost, other = losses(engine, Task([docs[0], bad, docs[1]]), tell=told.append)
    chosen = min(range(3), key=lambda at: lost[at][0])
    assert chosen not in ([right] if isinstance(right, int) else right)
    assert not any(greedy for _, greedy in lost)
    assert [whole, other] == losses(engine, Task(docs))
    assert "toys, document 1. " in told[0]
    assert "broken.mp4" in told[0]
    assert told[-1] == "1 of 3 have no answer and are counted wrong; they are named above"


def test_where_no_option_is_known_to_be_right_that_is_told(engine, tmp_path):
    told: list[str] = []
    doc = {"visual": [str(tmp_path / "none.mp4")], "question": "what ?", "options": ["red", "blue"], "answer": "?"}
    assert losses(engine, Task([doc]), tell=told.append) == [[(float("inf"), False)] * 2]
    assert any("right option can't be told" in line for line in told)


def test_an_open_question_about_a_video_that_cannot_be_read(engine, videos, tmp_path):
    told: list[str] = []
    doc = docs_of(videos)[0]
    found = texts(engine, Task([doc | {"visual": [str(tmp_path / "none.mp4")]}, doc]), tell=told.append)
    assert found == ["", texts(engine, Task([doc]))[0]]
    assert "none.mp4" in told[0]


def test_what_the_model_has_no_room_for_is_told_and_the_rest_answered(engine, videos):
    told: list[str] = []
    doc = docs_of(videos)[0]
    task = Task([doc | {"question": "red " * 2000}, doc])
    lost, whole = losses(engine, task, tell=told.append)
    assert lost[doc["answer"]][0] == float("inf")
    assert [whole] == losses(engine, Task([doc]))
    assert texts(engine, task, tell=told.append)[0] == ""
    assert all("tokens" in line for line in (told[0], told[2]))


def test_sampling_is_not_done_and_that_is_told(engine, videos):
    told: list[str] = []
    task = Task(docs_of(videos)[:1])
    assert texts(engine, task, told.append, temperature=1.0) == texts(engine, task)
    assert told == ["the task asks for sampled answers; topa's are greedy"]


def test_an_unknown_protocol_is_answered(engine):
    with pytest.raises(UsageError, match="unknown protocol 'logit'; did you mean 'logits'"):
        HarnessAnswerer(engine, "logit", 1, [].append)
