"""The command line: every verb explains itself, and prints what it says it prints."""

from __future__ import annotations

import inspect
import json
import os
import sysconfig
from pathlib import Path

import pytest
import typer

from topa import Topa, __version__
from topa.cli import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
VERBS = sorted(verb for verb, command in COMMANDS.items() if not command.hidden)
QUESTION = "what colour is the toy at the end ?"


def test_the_verbs_are_there():
    assert {"demo", "ask", "caption", "align"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_that_it_understands(topa, verb):
    done = topa(verb, "--help")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert f"Example: topa {verb}" in text
    example = text[text.index("Example:") :]
    assert all(option in text[: text.index("Example:")] for option in example.split() if option.startswith("--"))
    assert topa(verb, "-h").out == done.out


def test_help_and_errors_name_what_this_shell_can_run(topa, monkeypatch):
    """Examples are a line each, however long it is; what click says of itself begins with the same word."""
    monkeypatch.setenv("PATH", "/nowhere")
    program = str(Path(sysconfig.get_path("scripts"), "topa"))
    monkeypatch.chdir("/")
    shown = topa("memory", "build", "--help").out
    start = Path(program).relative_to("/")
    assert f"Usage: {start} memory build" in shown
    assert (
        f"  Example:  {start} memory build kitchen-features --out kitchen-memory --rows 1000000 --near 0.98\n" in shown
    )
    assert (
        f"          {start} evaluate nextqa --data NExT-QA --model topa-7b --out nextqa-7b\n"
        in topa("evaluate", "-h").out
    )
    assert f"Try '{start} ask -h' for help." in topa("ask").err
    assert f"Make one: {start} index VIDEOS --out DIR\n" in topa("ask", "/", QUESTION).err


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb):
    options = typer.main.get_command(app).commands[verb].params  # type: ignore[attr-defined]
    assert not [option.name for option in options if not getattr(option, "help", None) and option.name != "help"]


def test_version(topa):
    done = topa("--version")
    assert (done.code, done.out, done.err) == (0, f"topa {__version__}\n", "")


def test_threads_wait_without_spinning_unless_told_otherwise(topa, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    topa("--version")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    topa("--version")
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_the_first_help_names_every_verb(topa):
    done = topa("--help")
    assert done.code == 0
    assert all(f"  {verb} " in done.out for verb in VERBS)
    assert "topa demo" in done.out


def test_ask_says_the_answer_and_what_it_rests_on(topa, micro_model, micro_video):
    done = topa("ask", micro_video, QUESTION, "--choice", "red", "--choice", "blue", "--model", micro_model)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] in ("red", "blue")
    assert [line.split()[-1] for line in lines[1:3]] == ["red", "blue"]
    assert sum("read as: " in line for line in lines) == 5
    assert done.err == ""


def test_adapt_leaves_a_model_that_answers(topa, micro_model, micro_video, tmp_path):
    done = topa("adapt", *[micro_video] * 30, "--model", micro_model, "--out", tmp_path / "used")
    assert done.code == 0
    assert done.out == f"next:   topa ask {micro_video} QUESTION --model {tmp_path / 'used'}\n"
    read = [topa("ask", micro_video, QUESTION, "--model", m, "--json") for m in (micro_model, tmp_path / "used")]
    assert read[0].code == read[1].code == 0
    assert json.loads(read[0].out)["evidence"] != json.loads(read[1].out)["evidence"]
    done = topa("adapt", micro_video, "--model", micro_model, "--out", tmp_path / "few")
    assert (done.code, (tmp_path / "few").exists()) == (2, False)
    assert "found 1 videos with frames; expected 30" in done.err
    old = topa("accustom", micro_video, "--model", micro_model, "--out", tmp_path / "few")
    assert old.code == 2
    assert "accustom is now called adapt" in old.err
    assert "accustom" not in topa("--help").out


def test_ask_and_caption_look_among_more_frames(topa, micro_model, micro_video):
    times = {}
    for among in (None, 10, 20):
        more = () if among is None else ("--among", among)
        asked = topa("ask", micro_video, QUESTION, "--model", micro_model, "--json", *more)
        told = topa("caption", micro_video, "--model", micro_model, "--json", *more)
        assert asked.code == told.code == 0
        times[among] = [frame["time"] for frame in json.loads(asked.out)["evidence"]]
        assert times[among] == [frame["time"] for frame in json.loads(told.out)["evidence"]]
        assert [int(time) for time in times[among]] == [0, 1, 2, 3, 4]
    assert times[None] != times[10] != times[20]
    done = topa("caption", micro_video, "--model", micro_model, "--among", 3)
    assert done.code == 2
    assert "expected 5 or more" in done.err


def test_ask_chooses_frames_by_the_question_and_says_so(topa, micro_model, micro_video):
    words = ("ask", micro_video, QUESTION, "--choice", "red", "--choice", "blue", "--model", micro_model)
    told = {}
    for by in ("uniform", "question", "hierarchical"):
        done = topa(*words, "--frames-by", by, "--json")
        assert done.code == 0
        told[by] = json.loads(done.out)
        assert told[by]["frames_by"] == by
        assert told[by]["times"] == [frame["time"] for frame in told[by]["evidence"]]
    assert told["uniform"] == json.loads(topa(*words, "--json").out)
    assert json.loads(topa(*words, "--json", "--among", 20).out)["frames_by"] == "scenes"
    done = topa(*words, "--frames-by", "hierarchical", "--among", 30)
    shares = [line for line in done.out.splitlines() if " to " in line]
    assert 1 < len(shares) <= 4
    assert all(line.endswith((": red", ": blue")) for line in shares)


def test_ask_reads_subtitles_beside_the_video(topa, micro_model, micro_video, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(micro_video.read_bytes())
    words = ("ask", video, QUESTION, "--choice", "red", "--choice", "blue", "--model", micro_model, "--json")
    done = topa(*words, "--subtitles")
    assert done.err == f"note: found no subtitles beside {video}\n"
    plain = json.loads(done.out)["scores"]
    video.with_suffix(".vtt").write_text("WEBVTT\n\n00:00.000 --> 00:05.000\nthe toy is red\n")
    assert json.loads(topa(*words).out)["scores"] == plain
    for by in ("uniform", "question", "hierarchical"):
        more = ("--frames-by", by)
        assert (
            json.loads(topa(*words, *more).out)["scores"]
            != json.loads(topa(*words, *more, "--subtitles").out)["scores"]
        )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--frames-by", "hierarchic"), "hierarchical"),
        (("--frames-by", "uniform", "--among", "20"), "--among: means nothing with --frames-by uniform"),
        (("--video", "a.mp4"), "--video: means nothing of a video file"),
        (("--top", "3"), "--top: means nothing of a video file"),
    ],
)
def test_ask_refuses_what_does_not_go_together(topa, micro_video, options, told):
    done = topa("ask", micro_video, QUESTION, *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--among", "20"), "--among: means nothing in a library"),
        (("--frames-by", "question"), "--frames-by: means nothing in a library without --video"),
        (("--video", "a.mp4", "--top", "3"), "--top: means nothing with --video"),
    ],
)
def test_ask_refuses_what_a_library_has_no_use_for(topa, tmp_path, options, told):
    done = topa("ask", tmp_path, QUESTION, *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_json_alone_is_on_stdout(topa, micro_model, micro_video):
    for words in (("ask", micro_video, QUESTION), ("caption", micro_video)):
        done = topa(*words, "--json", "--model", micro_model)
        assert done.code == 0
        assert json.loads(done.out)["text"]
    chosen = json.loads(
        topa("ask", micro_video, QUESTION, "--choice", "red", "--choice", "blue", "--json", "--model", micro_model).out
    )
    assert chosen["options"] == ["red", "blue"]
    assert chosen["text"] == chosen["options"][chosen["choice"]]


def test_warnings_are_notes_on_stderr_or_in_the_json(topa, micro_model, micro_video):
    words = ("ask", micro_video, "is the zeppelin red ?", "--model", micro_model)
    done = topa(*words)
    assert done.err == "note: the language model has no word for: zeppelin\n"
    assert "zeppelin" not in done.out.splitlines()[0]
    told = topa(*words, "--json")
    assert json.loads(told.out)["warnings"] == ["the language model has no word for: zeppelin"]


def test_align_as_json(topa, tmp_path):
    words = ["align", "--out", tmp_path / "out", "--json"]
    for setting in ("microworld_tideos=20", "epochs=1", "validation=4"):
        words += ["--set", setting]
    done = topa(*words)
    assert done.code == 0
    told = json.loads(done.out)
    assert told["steps"] == 1
    assert set(told) == {"steps", "seconds", "loss", "accuracy", "held_out", "best", "best_step"}
    assert told["best"]["step"] == told["best_step"] == 1
    again = topa(*words)
    assert json.loads(again.out) == told
    assert "resuming at step 1 of 1" in again.err


def test_the_command_line_and_the_api_compare_options_alike():
    from topa.cli.use import ask

    said = inspect.signature(ask).parameters["protocol"].default
    assert said == inspect.signature(Topa.ask).parameters["protocol"].default


def test_a_stopped_command_says_how_to_go_on(topa, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("topa.training.align.align", stop)
    done = topa("align", "--out", tmp_path)
    assert (done.code, done.out) == (130, "")
    assert "run the same command again" in done.err
    assert "Traceback" not in done.err
