"""What is wrong without a model is told before one is loaded; what needs no torch, before torch is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import topa
from topa.core.artifacts import write_atomically
from topa.core.embedded import resolve
from topa.core.errors import TopaError
from topa.library.library import Library

QUESTION = "what colour is the toy at the end ?"
LOADERS = (
    "topa.inference.engine.load_llm",
    "topa.training.align.load_llm",
    "topa.training.finetune.load_llm",
    "topa.features.encoder.Encoder.from_pretrained",
    "topa.training.pretrained.import_adapter",
    "topa.training.pretrained.align",
    "topa.demo.run",
)

LIGHT = """
import json, sys
from topa.cli import main
for words, told in json.loads(sys.argv[1]):
    sys.argv = ["topa", *words]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 2, (words, ended.code)
    else:
        raise AssertionError(f"{words}: went on")
    print("end of", words, file=sys.stderr)
    assert "torch" not in sys.modules and "transformers" not in sys.modules, f"{words}: torch was loaded"
"""


def test_without_torch(tmp_path: Path, micro_video: Path) -> None:
    gone, video, out = str(tmp_path / "gone.mp4"), str(micro_video), str(tmp_path / "out")
    cases = [
        (["ask", gone, QUESTION], "found nothing there"),
        (["ask", video, ""], "question: found nothing"),
        (["ask", video, " \n"], "question: found nothing"),
        (["ask", video, QUESTION, "--choice", "red"], "expected at least two"),
        (["ask", video, QUESTION, "--choice", "red", "red"], "more than once"),
        (["ask", video, QUESTION, "--choice", "red", " "], "found an empty one"),
        (["ask", video, QUESTION, "--protocol", "logit"], "did you mean 'logits'"),
        (["ask", video, QUESTION, "--frames-by", "quest"], "did you mean 'question'"),
        (["ask", str(tmp_path), ""], "question: found nothing"),
        (["caption", gone], "found nothing there"),
        (["explain", gone], "found nothing there"),
        (["explain", video, ""], "question: found nothing"),
        (["explain", video, QUESTION, "--choice", "red"], "expected at least two"),
        (["search", gone, " "], "query: found nothing"),
        (["search", gone, "a ball"], "expected a video file, or a library"),
        (["when", video, ""], "query: found nothing"),
        (["when", video, "a ball", "--path", "*"], "--path: goes with a library"),
        (["index", gone, "--out", out, "--rate", "0"], "--rate: found 0.0"),
        (["encode", gone, "--out", out, "--shard", "9/3"], "expected i/n"),
        (["align", "--tideos", gone, "--out", out], "no --recipe"),
        (["align", "--recipe", "lama", "--out", out], "unknown recipe"),
        (["evaluate", "nextq", "--out", out], "did you mean 'nextqa'"),
        (["demo", "--quick", "--full"], "exclude each other"),
        (["serve", "--allow-private"], "means nothing without --allow-urls"),
        (["generate", "--out", out, "--writer", "openai", "--model", "x"], "needs --base-url"),
    ]
    done = subprocess.run([sys.executable, "-c", LIGHT, json.dumps(cases)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [part.partition("\n")[2] if n else part for n, part in enumerate(done.stderr.split("end of"))]
    assert [words for (words, expected), text in zip(cases, told, strict=False) if expected not in text] == []


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("weights were read for nothing")

    for name in LOADERS:
        monkeypatch.setattr(name, never)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, micro_video: Path) -> Path:
    from topa.library.index import Wanted
    from topa.library.library import make

    out = tmp_path_factory.mktemp("library") / "lib"
    make([str(micro_video)], out, Wanted(encoder="microworld/clip"), show=False)
    return out


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, micro_model: Path) -> Path:
    """A model of another encoder, as far as its configuration says."""
    folder = tmp_path_factory.mktemp("stranger")
    config = json.loads((micro_model / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"encoder_identity": "clip-other"}))
    (folder / "adapter.safetensors").write_bytes((micro_model / "adapter.safetensors").read_bytes())
    return folder


def test_without_weights(topa, nothing_loaded, tmp_path, micro_video, micro_model, library, stranger) -> None:
    gone, out, aligned = tmp_path / "gone", tmp_path / "out", ("--model", micro_model)
    file = tmp_path / "file"
    file.write_text("mine")
    bad = tmp_path / "video.srt"
    bad.write_bytes(b"\xff\xfe")
    for words, told in (
        (("ask", micro_video, QUESTION, "--model", gone), "expected a model saved by topa"),
        (("ask", micro_video, QUESTION, "--among", 3, *aligned), "expected 5 or more"),
        (("caption", micro_video, "--among", 3, *aligned), "expected 5 or more"),
        (("explain", micro_video, "--among", 3, *aligned), "expected 5 or more"),
        (("explain", micro_video, "--out", file, *aligned), f"{file}"),
        (("ask", library, QUESTION, "--video", "gone.mp4", *aligned), "found no such video among 1"),
        (("ask", library, QUESTION, "--model", gone), "expected a model saved by topa"),
        (("ask", library, QUESTION, "--model", stranger), "reads features of clip-other"),
        (("explain", library, QUESTION, "--video", micro_video, "--model", stranger), "reads features of clip-other"),
        (("serve", "--library", library, "--model", stranger, "--port", 0), "reads features of clip-other"),
        (("search", library, "a ball", "--path", "gone*"), "gone*"),
        (("search", library, "a ball", "--similarity", "raww"), "did you mean 'raw'"),
        (("search", library, "a ball", "--similarity", "centred"), "needs a memory of captions"),
        (("when", library, "a ball", "--path", "gone*"), "gone*"),
        (("when", micro_video, "a ball", "--similarity", "projected"), "needs a memory of captions"),
        (("adapt", micro_video, "--out", out, *aligned), "found 1 videos"),
        (("adapt", *[micro_video] * 30, "--out", file, *aligned), f"{file}"),
        (("adapt", gone, "--out", out, *aligned), "found nothing there"),
        (("align", "--recipe", "microworld", "--tideos", gone, "--out", out), "can't be read"),
        (("align", "--recipe", "microworld", "--out", out, "--track", "wandbb"), "unknown tracker"),
        (("finetune", "--model", gone, "--data", gone, "--out", out), "expected a model saved by topa"),
        (("finetune", "--data", gone, "--out", out, *aligned), "found nothing there"),
        (("encode", gone, "--out", out, "--encoder", "microworld/clip"), "gone"),
        (("generate", "--seeds", gone, "--out", out, "--writer", "local", "--model", gone), "gone"),
    ):
        done = topa(*words)
        assert done.code in (1, 2), words
        assert told in done.err, (words, done.err)
        assert "weights were read" not in done.err


def test_a_run_of_other_settings_is_refused_before_anything_is_encoded(topa, nothing_loaded, tmp_path) -> None:
    write_atomically(tmp_path / "run.json", json.dumps({"kind": "align", "settings": {"epochs": 3}}))
    done = topa("align", "--recipe", "microworld", "--out", tmp_path)
    assert done.code == 2
    assert "epochs: 3 then, 4 now" in done.err
    assert not (tmp_path / "tideos.jsonl").exists()


def test_a_demo_that_cannot_be_served_is_not_begun(topa, nothing_loaded, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("topa.serving.serve.find_spec", lambda name: None)
    done = topa("demo", "--serve", "--out", tmp_path / "out")
    assert done.code == 2
    assert "serve: needs fastapi" in done.err


def test_from_python(nothing_loaded, library, stranger, micro_video, monkeypatch) -> None:
    opened = Library.open(library)
    for call in (
        lambda: opened.ask(" "),
        lambda: opened.ask(QUESTION, ["red"]),
        lambda: opened.ask(QUESTION, video="gone.mp4"),
        lambda: opened.ask(QUESTION, model=stranger),
        lambda: opened.explain(micro_video, None, ["red", "blue"]),
        lambda: opened.search(" "),
        lambda: opened.search("a ball", path="gone*"),
        lambda: opened.when(micro_video, ""),
    ):
        with pytest.raises(TopaError):
            call()


def test_a_question_is_looked_at_before_the_video(micro_model, tmp_path) -> None:
    engine = topa.Topa.from_pretrained(micro_model, resolve=resolve)
    for call in (engine.ask, engine.explain):
        with pytest.raises(TopaError, match="question: found nothing"):
            call(tmp_path / "gone.mp4", "")
