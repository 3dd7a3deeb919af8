"""A run of an evaluation: every record answered once, whatever fails; stopped anywhere, it ends with the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from topa import Topa
from topa.core.artifacts import claim
from topa.core.embedded import resolve
from topa.core.errors import ArtifactError, InputError
from topa.core.processes import Processes
from topa.evals import runner as run
from topa.evals.answering import RecordAnswerer, spans
from topa.evals.datasets.own import BENCHMARK
from topa.evals.example import Example
from topa.evals.predictions import NAME
from topa.evals.report import MODEL
from topa.evals.runner import answer_all, place, read_predictions
from topa.evals.watching import Videos
from topa.features.encode_video import encode_video
from topa.microworld.writer import make_videos

VIEWS = (MODEL, "blind")


@pytest.fixture(scope="module")
def engine(micro_model) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Seven videos with questions, of which one is no video, and one is not there."""
    folder = tmp_path_factory.mktemp("data")
    made = make_videos(folder, 7, 5, questions=3, show=False)
    made[2].path.write_bytes(b"no video")
    made[4].path.unlink()
    return folder


@pytest.fixture
def examples(data) -> list[Example]:
    found = list(BENCHMARK.read(data, "test"))
    found[1] = replace(found[1], fault="an option is empty")
    found[3] = replace(found[3], answer=None, references=())
    assert len(found) == 21
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(run, "RECORDS", 6)


def answering(engine: Topa, task="choice") -> RecordAnswerer:
    return RecordAnswerer(engine, task, "logits", max_tokens=8)


def videos(engine: Topa, data: Path, folder: Path) -> Videos:
    return Videos(engine.encoder, data, folder, engine.config.frames)


def answer(engine, data, examples, out, *, features=None, views=VIEWS, **more):
    watching = videos(engine, data, features or out / "features")
    return answer_all(examples, watching, answering(engine), views, out, Processes(), show=False, **more)


@pytest.fixture(scope="module")
def whole(engine, data, tmp_path_factory) -> Path:
    """A run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    found = list(BENCHMARK.read(data, "test"))
    found[1] = replace(found[1], fault="an option is empty")
    found[3] = replace(found[3], answer=None, references=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "RECORDS", 6)
        answer(engine, data, found, out)
    return out


def files(out: Path) -> dict[str, bytes]:
    return {view: place(out, view).read_bytes() for view in VIEWS}


def test_every_record_is_answered_in_the_published_order(whole, examples):
    for view in VIEWS:
        found = list(read_predictions(place(whole, view)))
        assert [prediction.id for prediction in found] == [example.id for example in examples]
    by_id = {p.id: p for p in read_predictions(whole / NAME)}
    failed = {name: p.error for name, p in by_id.items() if p.error}
    assert failed[examples[1].id] == "an option is empty"
    assert all("000004" in failed[e.id] and "is missing" in failed[e.id] for e in examples[12:15])
    assert all("000002.mp4" in failed[e.id] for e in examples[6:9])
    assert len(failed) == 7
    assert all(by_id[name].correct == 0 and by_id[name].choice is None for name in failed)
    hidden = by_id[examples[3].id]
    assert (hidden.answer, hidden.correct) == (None, None)
    assert hidden.choice is not None
    graded = [(by_id[e.id], e) for e in examples if by_id[e.id].correct is not None and not by_id[e.id].error]
    assert all(p.correct == float(p.choice == e.answer) and p.text == e.options[p.choice] for p, e in graded)


def test_answers_are_those_of_the_engine(engine, data, whole, examples):
    for prediction, example in zip(read_predictions(whole / NAME), examples, strict=True):
        if prediction.error is None:
            inputs = engine.inputs_of(stored(engine, example.path))
            own = engine.ask(inputs, example.question, example.options)
            assert prediction.scores == pytest.approx(own.scores, abs=1e-4)
            assert prediction.choice == own.choice


def stored(engine, path):
    """Features as they come back from the disk, in half precision."""
    features = encode_video(path, engine.encoder, engine.config.frames).features
    return replace(features, values=features.values.half().float())


class Stopped(Exception):
    pass


@pytest.mark.parametrize("last", [0, 1, 2])
def test_stopped_between_blocks_it_asks_nothing_twice(engine, data, whole, examples, tmp_path, last):
    blocks = []

    def stop(block: int) -> None:
        blocks.append(block)
        if len(blocks) == last + 1:
            raise Stopped

    with pytest.raises(Stopped):
        answer(engine, data, examples, tmp_path, wrote=stop)
    there = len(list(read_predictions(tmp_path / NAME)))
    done = answer(engine, data, examples, tmp_path, wrote=blocks.append)
    assert done.before == 2 * there > 0
    assert done.asked + done.before == 2 * len(examples)
    assert len(set(blocks)) == len(blocks)
    assert files(tmp_path) == files(whole)


def test_a_block_that_was_cut_off_is_asked_again(engine, data, whole, examples, tmp_path):
    """Half a block of the model, a torn line of a baseline: what a kill may leave."""
    lines = (whole / NAME).read_bytes().splitlines(keepends=True)
    for view in (MODEL, "blind"):
        place(tmp_path, view).parent.mkdir(exist_ok=True)
        claim(place(tmp_path, view), "lines")
    (tmp_path / NAME).write_bytes(b"".join(lines[:8]))
    torn = place(whole, "blind").read_bytes()
    place(tmp_path, "blind").write_bytes(torn[: len(torn) // 2])
    done = answer(engine, data, examples, tmp_path)
    assert 0 < done.before < 8 + 11
    assert files(tmp_path) == files(whole)
    again = answer(engine, data, examples, tmp_path)
    assert (again.asked, again.before) == (0, 2 * len(examples))
    assert files(tmp_path) == files(whole)


def test_baselines_can_be_added_later(engine, data, whole, examples, tmp_path):
    answer(engine, data, examples, tmp_path, views=(MODEL,))
    assert not place(tmp_path, "blind").exists()
    done = answer(engine, data, examples, tmp_path)
    assert (done.asked, done.before) == (len(examples), len(examples))
    assert files(tmp_path) == files(whole)


def test_processes_share_the_work_to_the_same_bytes(engine, data, whole, examples, tmp_path):
    """Two processes in turn: each does its own blocks, and the last to come joins all."""

    class One:
        device = engine.model.device
        of = 2

        def __init__(self, rank: int) -> None:
            self.rank, self.first = rank, rank == 0

        def wait(self) -> None:
            pass

    watching = videos(engine, data, tmp_path / "features")
    asked = []
    second = answer_all(examples, watching, answering(engine), VIEWS, tmp_path, One(1), show=False)
    asked.append(second.asked)
    assert not (tmp_path / NAME).exists()
    own = (tmp_path / f"{NAME}.1").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        # The first one must not join before the others are ready; here they are.
        patch.setattr(run, "_tidy", lambda *_: None)
        patch.setattr(run, "_found", lambda path, known: {})
        asked.append(answer_all(examples, watching, answering(engine), VIEWS, tmp_path, One(0), show=False).asked)
    assert sum(asked) == 2 * len(examples)
    assert min(asked) > 0
    assert len(own) > 0
    assert files(tmp_path) == files(whole)
    assert not list(tmp_path.glob(f"{NAME}.*"))


def test_features_are_made_once(engine, data, whole, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(type(engine.encoder), "encode_images", pytest.fail)
    answer(engine, data, examples, tmp_path, features=whole / "features")
    assert files(tmp_path) == files(whole)


def test_open_questions_and_captions_are_generated(engine, data, examples, tmp_path):
    asked = [replace(e, options=(), answer=None, references=(e.options[e.answer or 0],)) for e in examples[:3]]
    asked[2] = replace(asked[2], question="what " * 2000)
    watching = videos(engine, data, tmp_path / "features")
    for task, out in (("open", tmp_path / "open"), ("caption", tmp_path / "caption")):
        answer_all(asked, watching, answering(engine, task), (MODEL,), out, Processes(), show=False)
        first, second, third = read_predictions(out / NAME)
        assert second.error == "an option is empty"
        assert first.text
        assert (first.choice, first.scores) == (None, ())
        if task == "open":
            assert first.correct in (0.0, 1.0)
            assert "tokens" in third.error
            assert third.correct == 0
        else:
            assert (first.correct, third.error) == (None, None)


def test_a_video_that_has_come_is_asked_about(engine, data, whole, examples, tmp_path):
    """Only the block that it is in."""
    features = shutil.copytree(whole / "features", tmp_path / "features")
    answer(engine, data, examples, tmp_path, views=(MODEL,), features=features)
    gone = examples[12].path
    gone.write_bytes(examples[15].path.read_bytes())
    try:
        done = answer(engine, data, examples, tmp_path, views=(MODEL,), features=features)
    finally:
        gone.unlink()
    assert 3 <= done.asked < len(examples)
    found = {p.id: p for p in read_predictions(tmp_path / NAME)}
    assert all(found[e.id].error is None and found[e.id].scores for e in examples[12:15])
    kept = {p.id: p for p in read_predictions(whole / NAME)}
    assert all(found[e.id] == kept[e.id] for e in examples[:12])


def test_subtitles_that_cannot_be_read_are_the_error_of_their_record(engine, data, whole, examples, tmp_path):
    def said(example: Example, features: object) -> str:
        if example.id == examples[9].id:
            raise InputError("a.srt, line 2: found no time")
        return "a red ball"

    spoken = replace(answering(engine), subtitles=said)
    watching = videos(engine, data, whole / "features")
    answer_all(examples, watching, spoken, (MODEL,), tmp_path, Processes(), show=False)
    found = {p.id: p for p in read_predictions(tmp_path / NAME)}
    bad = found[examples[9].id]
    assert (bad.error, bad.correct, bad.choice) == ("a.srt, line 2: found no time", 0.0, None)
    assert found[examples[10].id].error is None


def test_predictions_of_other_records_are_refused(engine, data, examples, whole, tmp_path):
    (tmp_path / NAME).write_bytes((whole / NAME).read_bytes())
    with pytest.raises(ArtifactError, match="of records that aren't asked for"):
        answer(engine, data, examples[3:], tmp_path, features=whole / "features")
    (tmp_path / NAME).write_text(json.dumps({"id": "a", "choice": "b"}) + "\n")
    with pytest.raises(ArtifactError, match=f"{NAME}:1: found no prediction"):
        answer(engine, data, examples, tmp_path, features=whole / "features")


def test_blocks_keep_the_records_of_a_clip_together():
    clips = {"a": [0, 3], "b": [1], "c": [2, 4, 5, 6, 7], "d": [8], "e": [9], "f": [10]}
    assert spans(clips, 4, 2) == [[0, 3, 1], [2, 4, 5, 6, 7], [8, 9], [10]]


def test_what_is_decoded_runs_ahead_of_what_is_answered(engine, data, examples, tmp_path):
    """While a block is answered, the next ones are decoded and encoded."""
    watching = videos(engine, data, tmp_path / "features")
    made: list[int] = []
    inner = watching.watch

    class Ahead:
        frames = watching.frames
        clip = staticmethod(watching.clip)

        def watch(self, blocks) -> Iterator:
            for watched in inner(blocks):
                made.append(len(watched))
                yield watched

    ahead = []

    def wrote(block: int) -> None:
        while len(made) < min(block + 3, 4):  # a deadlock here is the failure; the suite's time limit ends it
            pass
        ahead.append(len(made))

    answer_all(examples, Ahead(), answering(engine), (MODEL,), tmp_path, Processes(), show=False, wrote=wrote)
    assert ahead[0] >= 3
