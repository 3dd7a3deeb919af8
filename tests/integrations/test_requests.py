"""Requests of a harness become documents: which belong together, what they are about, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.core.errors import UsageError
from topa.integrations.requests import documents, open_questions

from .harness import Request, Task

DOC = {"visual": ["a.mp4"], "question": " what colour ? ", "options": ["red", "blue"], "answer": 1}


def test_options_of_a_document_come_together_in_their_order():
    task = Task([DOC, DOC | {"options": ["one", "two", "one"]}])
    requests = task.likelihoods()
    mixed = [requests[number] for number in (4, 1, 2, 0, 3)]
    first, second = documents(mixed, task.datasets)
    assert (first.options, first.requests) == (("one", "two", "one"), ((2,), (4,), (0,)))
    assert (second.options, second.requests) == (("red", "blue"), ((3,), (1,)))
    assert (first.question, first.about.video, first.about.fault) == ("what colour ?", "a.mp4", "")


def test_repeated_and_padding_requests_are_one_option():
    task = Task([DOC])
    requests = task.likelihoods()
    (document,) = documents([*requests, requests[1], requests[1]], task.datasets)
    assert document.options == ("red", "blue")
    assert document.requests == ((0,), (1, 2, 3))


def test_a_continuation_may_be_a_function_of_the_document():
    task = Task([DOC])
    request = Request(("what ?", lambda doc: doc["options"][1], task.doc_to_visual, 0, "toys", "test"))
    assert documents([request], task.datasets)[0].options == ("blue",)


@pytest.mark.parametrize(("answer", "right"), [(1, {1}), ("blue", {1}), ([0, 1], {0, 1}), ("B", set()), (None, set())])
def test_right_options_are_what_the_task_says(answer, right):
    task = Task([DOC | {"answer": answer}])
    (document,) = documents(task.likelihoods(), task.datasets)
    assert document.right() == right


def test_without_a_task_no_option_is_known_to_be_right():
    args = ("what ?", " red", lambda doc: doc["visual"], 0, "toys", "test")
    (document,) = documents([Request(args)], Task([DOC]).datasets)
    assert document.right() == set()


@pytest.mark.parametrize("visual", [[], None, ["a.mp4", "b.mp4"], [object()]])
def test_what_is_no_video_is_refused(visual):
    task = Task([DOC | {"visual": visual}])
    for ask in (
        lambda: documents(task.likelihoods(), task.datasets),
        lambda: open_questions(task.openly(), task.datasets),
    ):
        with pytest.raises(UsageError, match=r"toys, document 0: found \d visuals .* expected the path of one video"):
            ask()


def test_a_path_may_come_without_a_list():
    task = Task([DOC | {"visual": Path("a.mp4")}])
    assert documents(task.likelihoods(), task.datasets)[0].about.video == "a.mp4"


@pytest.mark.parametrize("error", [SystemExit("video path a.mp4 does not exist"), FileNotFoundError("a.mp4 is away")])
def test_a_task_that_gives_up_on_a_file_is_a_fault_of_the_document(error):
    def leave(doc):
        raise error

    request = Request(("what ?", " red", leave, 0, "toys", "test"))
    (document,) = documents([request], Task([DOC]).datasets)
    assert document.about.fault == str(error)


def test_a_request_without_a_video_is_refused():
    with pytest.raises(UsageError, match="found a request with 2 parts, expected context, continuation"):
        documents([Request(("", "red"))], {})


def test_settings_of_an_answer():
    task = Task([DOC])
    (plain,) = open_questions(task.openly(), task.datasets)
    assert (plain.until, plain.max_tokens, plain.sampled) == ((), 80, False)
    settings = {"until": "\n", "max_new_tokens": 7, "do_sample": False, "temperature": 0}
    (given,) = open_questions(task.openly(**settings), task.datasets)
    assert (given.until, given.max_tokens, given.sampled) == (("\n",), 7, False)
    (several,) = open_questions(task.openly(until=["", ".", "\n\n"], temperature=0.7), task.datasets)
    assert (several.until, several.sampled) == ((".", "\n\n"), True)
