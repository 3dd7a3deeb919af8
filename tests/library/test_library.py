"""A library from its making to its answers: real videos, the verbs one after the other, and the same from Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import topa as package
from topa.core.errors import InputError
from topa.microworld.writer import MicroVideo, make_videos


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[MicroVideo]]:
    folder = tmp_path_factory.mktemp("world")
    return folder, make_videos(folder, 5, 21, questions=4, show=False)


@pytest.fixture(scope="module")
def library(made) -> Path:
    """Of a copy of the videos, which can go away."""
    folder, _ = made
    shutil.copytree(folder / "videos", folder / "copies")
    out = folder / "library"
    from topa.library.index import index
    from topa.library.verbs import IndexConfig

    copies = (str(folder / "copies"),)
    config = IndexConfig(videos=copies, out=out, encoder="microworld/clip", rate=2.0, workers=1)
    result = index(config, show=False)
    assert len(package.Library.open(out)) == 5, result
    shutil.rmtree(folder / "copies")
    return out


def path_of(video: MicroVideo) -> str:
    return f"copies/{video.path.name}"


def test_a_caption_finds_its_scene(topa, library, made):
    _, videos = made
    done = topa("search", library, videos[3].captions[2], "--top", "1", "--json")
    assert done.code == 0, done.err
    (moment,) = json.loads(done.out)["moments"]
    assert moment["video"] == path_of(videos[3])
    assert 2 <= moment["frames"][0] <= 3
    own = package.Library.open(library)
    assert own.search(videos[3].captions[2], 1)[0].start == moment["start"]
    found = own.search(videos[3].captions[2], 9, path=f"*{videos[1].id}*", after=1.0, before=4.0)
    assert {m.video.path for m in found} == {path_of(videos[1])}
    assert all(1 <= time <= 4 for m in found for time in m.frames)


def test_when_it_happens(topa, library, made):
    _, videos = made
    done = topa("when", library, videos[2].captions[4], "--path", f"*{videos[2].id}.mp4", "--top", "1", "--json")
    assert done.code == 0, done.err
    (moment,) = json.loads(done.out)["moments"]
    own = package.Library.open(library)
    assert own.when(path_of(videos[2]), videos[2].captions[4], 1)[0].start == moment["start"]
    assert moment["end"] > moment["start"]


def test_it_is_asked_and_explained_though_its_files_are_gone(topa, library, made, micro_model, tmp_path):
    _, videos = made
    asked = next(q for q in videos[0].questions if len(q.options) == 5)
    choices = [word for option in asked.options for word in ("--choice", option)]
    words = ["--video", path_of(videos[0]), "--model", micro_model, *choices]
    done = topa("ask", library, asked.question, *words, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["options"] == list(asked.options)
    done = topa("explain", library, asked.question, *words, "--json", "--out", tmp_path / "why")
    assert done.code == 0, done.err
    why = json.loads(done.out)
    assert (why["choice"], why["probabilities"]) == (told["choice"], pytest.approx(told["probabilities"], abs=1e-4))
    assert len(why["frames"]) == 5
    assert (tmp_path / "why" / "explain.html").is_file()
    own = package.Library.open(library)
    engine = package.load(micro_model)
    answer = own.ask(asked.question, asked.options, model=engine, video=videos[0].path.name)
    assert answer.choice == told["choice"]
    explained = own.explain(videos[0].path.name, asked.question, asked.options, model=engine)
    assert [frame.support for frame in explained.frames] == pytest.approx(
        [f["support"] for f in why["frames"]], abs=1e-3
    )
    assert own.requests(engine) is own.requests(engine)
    over = own.ask(asked.question, asked.options, model=engine, top=3)
    assert over.frame_selection == "search"
    assert 1 <= len(over.parts) <= 3
    with pytest.raises(InputError, match="no such video"):
        own.explain("nothing.mp4", model=engine)


def test_what_explain_refuses(topa, library, micro_video, tmp_path):
    for words in (
        [library, "what ?"],
        [micro_video, "what ?", "--video", "a.mp4"],
        [library, "--video", "a", "--among", "9"],
    ):
        done = topa("explain", *words)
        assert (done.code, "expected a video file, or a library" in done.err) == (2, True), words
    done = topa("ask", tmp_path, "what ?")
    assert done.code != 0
    assert "library" in done.err


def test_a_library_of_nothing_but_bad_files_is_a_failure(topa, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_text(f"no video {name}")
    words = ("index", *sorted(tmp_path.glob("*.mp4")), "--out", tmp_path / "lib", "--encoder", "microworld/clip")
    for more in ((), ("--json",)):
        done = topa(*words, *more)
        assert done.code == 1
        assert "index: all 3 files failed; the commonest reason, of all of them (such as a.mp4): " in done.err
        assert done.out == ""
