"""Options of a question: several behind one `--choice`, or one behind each; never cut at a comma."""

from __future__ import annotations

import json

import pytest

from topa.core.choices import spread
from topa.core.errors import UsageError

VALUED = {"--choice", "--model", "--among"}
ORDERS = {
    "V Q --choice a b c": "V Q a b c",
    "V Q --choice a --choice b": "V Q a b",
    "V Q --choice a b --choice c": "V Q a b c",
    "V Q --choice=a --choice b": "V Q a b",
    "V Q --choice=a --choice=b": "V Q a b",
    "V Q --choice a b --model M --json": "V Q a b",
    "V --model M Q --choice a b": "V Q a b",
    "--model M --choice a b -- V Q": "V Q a b",
    "--choice a b --json V Q": "V Q a b",
    "V --choice a b --json Q": "V Q a b",
    "--choice a --choice b V Q": "V Q a b",
    "V --choice a --choice b Q": "V Q a b",
    "--choice a V --json Q --choice b": "V Q a b",
    "V Q --choice -1 -2 -.5": "V Q -1 -2 -.5",
    "V Q": "V Q",
}


def read(words: list[str]) -> str:
    """What click makes of them: arguments and options of `--choice`."""
    arguments, choices, left = [], [], list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            arguments += left
            break
        if word == "--choice":
            choices.append(left.pop(0))
        elif word.startswith("--choice="):
            choices.append(word.partition("=")[2])
        elif word in VALUED:
            left.pop(0)
        elif not word.startswith("--"):
            arguments.append(word)
    return " ".join([*arguments, *choices])


@pytest.mark.parametrize(("typed", "meant"), ORDERS.items())
def test_orders(typed: str, meant: str) -> None:
    assert read(spread(typed.split(), VALUED, "topa ask")) == meant


@pytest.mark.parametrize("typed", ["V --choice a b c", "--choice a b V Q", "--choice a b c V", "V --choice a Q"])
def test_what_may_be_an_option_or_the_question_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match=r"found no .*QUESTION before it.* Expected: topa ask VIDEO QUESTION --choice"):
        spread(typed.split(), VALUED, "topa ask")


def test_options_behind_one_flag_on_the_command_line(topa, micro_model, micro_video) -> None:
    where = "where is the toy at the end ?"
    words = ("ask", micro_video, where, "--model", micro_model, "--json")
    options = ["in the room", "on the beach", "red, green"]
    done = topa(*words, "--choice", *options)
    assert done.code == 0
    assert json.loads(done.out)["options"] == options
    assert topa(*words, *(word for option in options for word in ("--choice", option))).out == done.out
    why = topa("explain", micro_video, where, "--choice", *options, "--model", micro_model, "--json")
    assert json.loads(why.out)["options"] == options


def test_a_missing_question_is_told(topa, micro_video) -> None:
    done = topa("explain", micro_video, "--choice", "red", "blue")
    assert (done.code, done.out) == (2, "")
    assert "no QUESTION before it" in done.err
    assert "topa explain VIDEO QUESTION --choice TEXT TEXT" in done.err
    done = topa("ask", micro_video, "--choice")
    assert done.code == 2
    assert "requires an argument" in done.err
