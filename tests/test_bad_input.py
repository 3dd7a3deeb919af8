"""Whatever people hand to the command line is used, or answered in one paragraph without a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from features.clips import steady, write_video
from topa.core.errors import InputError, TopaError, UsageError

QUESTION = "what colour is the toy at the end ?"
FAST = {"preset": "veryfast", "g": "30"}
UNEVEN = [Fraction(n, 10) for n in (0, 1, 2, 20, 21, 70)]


def refused(done, code: int, *words: str) -> None:
    """One paragraph on stderr, nothing on stdout."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("topa: ")
    assert done.err.endswith("\n")
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def missing(folder: Path) -> Path:
    return folder / "gone.mp4"


def empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("this was never a video\n" * 100)
    return folder / "text.mp4"


def sound(folder: Path) -> Path:
    return write_video(folder / "sound.mp4", [], audio_s=1)


def header(folder: Path) -> Path:
    path = write_video(folder / "header.mp4", steady(50), options=FAST, mux={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 8])
    return path


def a_folder(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "found nothing there; expected a video file"),
        (empty, "found an empty file"),
        (text, "not a video"),
        (sound, "found audio streams only"),
        (header, "expected at least one frame"),
        (a_folder, "found a folder; expected a video file"),
    ],
)
@pytest.mark.parametrize("verb", ["ask", "caption"])
def test_what_is_no_video_is_answered_before_a_model_is_made(topa, tmp_path, monkeypatch, verb, make, words):
    def never(*_, **__):
        raise AssertionError("a model was loaded for nothing")

    monkeypatch.setattr("topa.training.pretrained.load", never)
    path = make(tmp_path)
    for more in ([], ["--json"]):
        refused(topa(verb, path, *([QUESTION] if verb == "ask" else []), *more), 2, str(path), words)


def one_frame(folder: Path) -> Path:
    return write_video(folder / "one.mp4", steady(1))


def rotated(folder: Path) -> Path:
    return write_video(folder / "turned.mp4", steady(30), rotation=90, turned=-1, options=FAST)


def uneven(folder: Path) -> Path:
    return write_video(folder / "uneven.mp4", UNEVEN)


def deep(folder: Path) -> Path:
    return write_video(folder / "deep.mp4", steady(30), pix_fmt="yuv420p10le", options=FAST)


def cut(folder: Path) -> Path:
    path = write_video(folder / "cut.mp4", steady(200), options=FAST, mux={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    return path


@pytest.mark.parametrize(
    ("make", "times"),
    [
        (one_frame, [0, 0, 0, 0, 0]),
        (rotated, [0.12, 0.36, 0.6, 0.84, 1.08]),
        (uneven, None),
        (deep, [0.12, 0.36, 0.6, 0.84, 1.08]),
        (cut, None),
    ],
)
@pytest.mark.parametrize("verb", ["ask", "caption"])
def test_unusual_videos_are_answered(topa, tmp_path, micro_model, verb, make, times):
    done = topa(verb, make(tmp_path), *([QUESTION] if verb == "ask" else []), "--json", "--model", micro_model)
    assert done.code == 0
    told = json.loads(done.out)
    assert told["text"]
    found = [frame["time"] for frame in told["evidence"]]
    assert len(found) == 5
    assert found == sorted(found)
    if times is not None:
        assert found == pytest.approx(times)
    if make is uneven:
        assert set(found) <= {float(t) for t in UNEVEN}
    assert any("cut short" in warning for warning in told["warnings"]) == (make is cut)


def test_a_cut_video_is_noted_on_stderr(topa, tmp_path, micro_model):
    done = topa("caption", cut(tmp_path), "--model", micro_model)
    assert done.code == 0
    assert done.err.startswith("note: the video file is damaged or cut short")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--choice", "red"], "found 1; expected at least two. Give --choice TEXT twice or more"),
        (["--choice", "red", "--choice", "red"], "'red' found more than once"),
        (["--choice", "red", "--choice", ""], "found an empty one"),
    ],
)
def test_choices_that_are_none(topa, micro_model, micro_video, words, told):
    refused(topa("ask", micro_video, QUESTION, *words, "--model", micro_model), 2, "options: ", told)


def test_no_question(topa, micro_model, micro_video):
    refused(topa("ask", micro_video, " ", "--model", micro_model), 2, "question: found nothing")


def test_an_unknown_protocol(topa, micro_video):
    done = topa("ask", micro_video, QUESTION, "--protocol", "logit")
    refused(done, 2, "unknown protocol 'logit'; did you mean 'logits'?")


def test_a_model_of_another_encoder(topa, tmp_path, micro_model, micro_video):
    copy = shutil.copytree(micro_model, tmp_path / "model")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"encoder_identity": "clip-before"}))
    done = topa("caption", micro_video, "--model", copy)
    refused(done, 2, "aligned with clip-before", f"found the encoder {config['encoder_identity']}", "topa align")


def test_a_model_that_is_none(topa, tmp_path, micro_video):
    done = topa("caption", micro_video, "--model", a_folder(tmp_path))
    refused(done, 1, "found no config.json", "topa align --recipe")
    refused(topa("caption", micro_video, "--model", missing(tmp_path)), 2, "found no such folder", "org/name@revision")


@pytest.mark.parametrize("verb", ["demo", "align"])
def test_a_folder_that_cannot_be_written(topa, tmp_path, verb):
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(topa(verb, "--out", out), 1, str(out), "can't be written", "--out")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_cache_that_cannot_be_written(topa, tmp_path, monkeypatch, micro_video):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOPA_CACHE", str(tmp_path / "file"))
    done = topa("caption", micro_video)
    assert done.code == 1
    assert "can't be written" in done.err.splitlines()[-1]
    assert "TOPA_CACHE" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--recipe", "mircoworld"], "unknown recipe 'mircoworld'; did you mean 'microworld'?"),
        (["--recipe", "own.toml"], "own.toml: no such recipe file"),
        (["--set", "epoch=2"], "unknown setting 'epoch'; did you mean 'epochs'?"),
        (["--set", "epochs"], "expected key=value"),
        (["--set", "epochs=many"], "epochs: "),
        (["--set", "microworld_tideos=0"], "found no Tideos; expected --tideos FILE"),
        (["--recipe", "microworld", "--tideos", "gone.jsonl"], "gone.jsonl: can't be read"),
        (["--tideos", "gone.jsonl"], "no --recipe; expected both"),
    ],
)
def test_align_told_wrongly(topa, tmp_path, words, told):
    refused(topa("align", "--out", tmp_path / "out", *words), 2, told)


@pytest.mark.parametrize(("option", "name"), [("--llm", "microworld/lm"), ("--set", "encoder=microworld/clap")])
def test_align_with_a_model_that_is_none(topa, tmp_path, option, name):
    words = ["--set", "microworld_tideos=4", "--set", "validation=0"]
    refused(topa("align", "--out", tmp_path / "out", *words, option, name), 2, "unknown micro model", "did you mean")


def test_quick_and_full_exclude_each_other(topa, tmp_path):
    refused(topa("demo", "--quick", "--full", "--out", tmp_path / "out"), 2, "--quick and --full exclude each other")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["ask"], ["fly"], ["ask", "a.mp4", "q", "--colour", "red"], ["align"]])
def test_words_that_are_no_command(topa, words):
    done = topa(*words)
    assert (done.code, done.out) == (2, "")
    assert "Usage: topa" in done.err
    assert "Traceback" not in done.err


def test_debug_lets_the_error_through(topa, tmp_path, monkeypatch):
    from topa.cli import main

    for words, kind in (
        (["caption", str(tmp_path / "gone.mp4")], InputError),
        (["demo", "--quick", "--full"], UsageError),
    ):
        monkeypatch.setattr(sys, "argv", ["topa", "--debug", *words])
        with pytest.raises(kind):
            main()
        assert issubclass(kind, TopaError)
    refused(topa("caption", tmp_path / "gone.mp4"), 2)  # and it holds for one command only


def test_debug_shows_a_traceback(tmp_path):
    for debug in ([], ["--debug"]):
        command = [sys.executable, "-m", "topa.cli", *debug, "caption", str(tmp_path / "gone.mp4")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        assert ("Traceback" in done.stderr) == bool(debug)
        assert "found nothing there" in done.stderr
        assert done.returncode == (1 if debug else 2)
