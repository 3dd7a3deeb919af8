"""Options that all verbs share: before the verb and behind it, typed before set before in the file."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import topa.cli
from topa.core import devices
from topa.core.progress import console

CLI = Path(topa.cli.__file__).parent
SEEDS = ("seeds", "mine.txt", "--kind", "text", "--out", "a.jsonl")


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """How much was said while the verb was at work."""
    taken: list[str] = []

    def look(*_: object) -> None:
        taken.append("quiet" if console.quiet else logging.getLevelName(logging.getLogger("topa").level))
        taken.append(str(devices.chosen_device()))

    monkeypatch.setattr("topa.tideos.seeds.check_output", look)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("one\n")
    return taken


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (SEEDS, "WARNING"),
        (("-q", *SEEDS), "quiet"),
        ((*SEEDS, "--quiet"), "quiet"),
        (("-v", *SEEDS), "INFO"),
        ((*SEEDS, "--verbose"), "INFO"),
        ((*SEEDS, "--debug"), "INFO"),
    ],
)
def test_before_the_verb_and_behind_it(topa, levels, words, level):
    done = topa(*words)
    assert (done.code, levels[0]) == (0, level)
    assert ("next:" in done.out) == (level != "quiet")
    assert ("took" in done.err) == (level == "INFO")
    assert "seeds: a.jsonl (1 written)" in done.out


def test_one_excludes_the_other(topa, levels):
    done = topa("-v", *SEEDS, "-q")
    assert (done.code, done.out, levels) == (2, "", [])
    assert "--quiet excludes --verbose" in done.err


def test_what_is_typed_wins(topa, levels, monkeypatch):
    Path("topa.toml").write_text("[defaults]\nquiet = true\n")
    assert topa(*SEEDS).code == 0
    monkeypatch.setenv("TOPA_VERBOSE", "1")
    assert topa(*SEEDS).code == 0
    assert topa("-q", *SEEDS).code == 0
    assert topa(*SEEDS, "-q").code == 0
    assert levels[::2] == ["quiet", "INFO", "quiet", "quiet"]


def test_nothing_is_left_behind(topa, levels, monkeypatch):
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    before = (os.environ.copy(), list(logging.getLogger().handlers), logging.getLogger("topa").propagate)
    assert topa("-q", "--device", "cpu", *SEEDS).code == 0
    assert (os.environ.copy(), list(logging.getLogger().handlers), logging.getLogger("topa").propagate) == before
    assert (console.quiet, devices.chosen_device(), levels[1]) == (False, None, "cpu")


TALK = """
import logging, sys, warnings
from topa.core.verbosity import session, set_verbosity

with session():
    set_verbosity(sys.argv[1])
    warnings.warn("some day", FutureWarning)
    logging.getLogger("theirs").warning("watch out")
    logging.getLogger("topa.serving").error("it failed")
"""


@pytest.mark.parametrize(
    ("options", "level", "expected"),
    [
        ((), "quiet", {"it failed"}),
        ((), "normal", {"it failed"}),
        ((), "verbose", {"some day", "watch out", "it failed"}),
        (("-W", "default"), "normal", {"some day", "it failed"}),
    ],
)
def test_only_topa_speaks_unless_asked(options, level, expected):
    command = [sys.executable, *options, "-c", TALK, level]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert {part for part in ("some day", "watch out", "it failed") if part in done.stderr} == expected
    assert done.stderr.count("it failed") == 1


def test_verbs_say_notes_and_hints_through_one_door():
    """Or -q wouldn't reach them."""
    for path in sorted(CLI.glob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            said = ast.unparse(call)
            if said.startswith("typer.echo("):
                assert not said[len("typer.echo(") :].lstrip("f'\"").startswith(("next:", "look:", "note:")), said


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cuda:7", "is not there"), ("gpu", "is no device"), ("cuda:x", "is no device"), ("mps", "is not there")],
)
def test_a_device_that_is_not_there(topa, monkeypatch, name, expected):
    monkeypatch.setattr(devices, "devices", lambda: ("auto", "cpu", "cuda", "cuda:0"))
    for words in (("--device", name, "caption", "gone.mp4"), ("caption", "gone.mp4", "--device", name)):
        done = topa(*words)
        assert (done.code, done.out) == (2, "")
        assert f"--device '{name}': {expected}; expected one of this machine's: auto, cpu, cuda, cuda:0." in done.err


def test_the_device_behind_the_verb_wins(topa, levels):
    assert topa("--device", "cpu", *SEEDS).code == 0
    assert topa("--device", "cpu", "caption", "gone.mp4", "--device", "auto").code == 2
    assert levels[1] == "cpu"
