"""Long videos: what is read of them, and answers over several parts against each part by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from topa import Topa
from topa.core.embedded import resolve
from topa.core.errors import ArtifactMismatch, InputError, UsageError
from topa.features.frames import FrameFeatures
from topa.features.subtitles import Cue
from topa.inference import footage as module
from topa.inference.footage import Footage, Scene, answer_over, frames_by, watch

QUESTION, CHOICES = "what colour is the ball ?", ("red", "blue", "green")


@pytest.fixture(scope="module")
def engine(micro_model: Path) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture
def footage(engine: Topa) -> Footage:
    """Thirty frames that show captions of the memory, as if the encoder saw them so."""
    values = functional.normalize(engine.memory.values[:30].float(), dim=-1)
    times = torch.arange(30, dtype=torch.float64) + 0.5
    return Footage(engine, FrameFeatures.image(values, engine.memory.encoder, times))


def test_frames_are_projected_once_and_equal_to_the_engine(engine, footage, monkeypatch):
    whole = engine.project([footage.image])[0].values
    given = []
    project = engine.project

    def counting(images):
        given.append(sum(map(len, images)))
        return project(images)

    monkeypatch.setattr(engine, "project", counting)
    seen = footage.seen([3, 7, 3, 29])
    torch.testing.assert_close(seen.features.values, whole[[3, 7, 3, 29]])
    assert seen.times == (3.5, 7.5, 3.5, 29.5)
    assert list(seen.evidence) == [engine.read(footage.image)[n] for n in (3, 7, 3, 29)]
    torch.testing.assert_close(footage.values(), whole)
    torch.testing.assert_close(footage.values(2, 9), whole[2:9])
    assert given == [3, 27]


@pytest.mark.parametrize("by", ["uniform", "question"])
def test_a_question_to_some_frames_is_that_to_the_engine(engine, footage, by):
    answer = footage.ask(QUESTION, CHOICES, frames_by=by)
    assert (answer.frames_by, len(answer.times), answer.parts) == (by, 5, ())
    assert answer == engine.ask(footage.seen([int(t) for t in answer.times], by), QUESTION, CHOICES)
    if by == "uniform":
        assert answer.times == (3.5, 9.5, 15.5, 21.5, 27.5)


def test_segments_count_as_much_as_they_are_like_the_question(engine, footage):
    answer = footage.ask(QUESTION, CHOICES, frames_by="hierarchical")
    assert answer.frames_by == "hierarchical"
    assert 2 <= len(answer.parts) <= 4
    assert sum(part.share for part in answer.parts) == pytest.approx(1)
    assert [p.share for p in answer.parts] == sorted((p.share for p in answer.parts), reverse=True)
    assert all(part.end - part.start == 4 for part in answer.parts)
    first = answer.parts[0]
    assert len(answer.times) == len(answer.evidence) == 5
    assert all(first.start <= time <= first.end for time in answer.times)


@pytest.mark.parametrize("protocol", ["selection", "logits"])
def test_an_answer_over_parts_is_the_weighted_mean_of_each(engine, footage, protocol):
    scenes = [Scene(footage, 0, 10, 0.1), Scene(footage, 12, 15, 0.4, "b.mp4"), Scene(footage, 20, 30, 0.3)]
    answer = answer_over(scenes, QUESTION, CHOICES, protocol=protocol)
    alone = [engine.ask(scene.seen(), QUESTION, CHOICES, protocol=protocol) for scene in scenes]
    weights = [math.exp(10 * scene.likeness) for scene in scenes]
    expected = [
        sum(w * a.probabilities[n] for w, a in zip(weights, alone, strict=True)) / sum(weights) for n in range(3)
    ]
    assert answer.probabilities == pytest.approx(expected, abs=1e-5)
    assert answer.scores == pytest.approx([-math.log(p) for p in expected], abs=1e-4)
    assert answer.choice == expected.index(max(expected))
    shares = {(p.start, p.end, p.video): (p.share, p.text) for p in answer.parts}
    for scene, weight, own in zip(scenes, weights, alone, strict=True):
        share, text = shares[(*scene.span(), scene.video)]
        assert share == pytest.approx(
            weight * own.probabilities[answer.choice] / sum(weights) / expected[answer.choice], abs=1e-4
        )
        assert text == own.text
    assert answer.evidence == next(s for s in scenes if s.span()[0] == answer.parts[0].start).seen().evidence


def test_of_free_answers_the_one_with_most_weight_behind_it(footage, monkeypatch):
    monkeypatch.setattr(module, "generate", lambda *given: ["red", "blue", "red"])
    scenes = [Scene(footage, 0, 10, 0.2), Scene(footage, 10, 20, 0.25), Scene(footage, 20, 30, 0.2)]
    answer = answer_over(scenes, QUESTION)
    assert (answer.text, answer.choice, answer.probabilities) == ("red", None, ())
    assert [(p.text, p.share) for p in answer.parts] == [("red", 0.5), ("red", 0.5), ("blue", 0)]


def test_free_answers_over_parts_are_those_of_each(engine, footage):
    scenes = [Scene(footage, 0, 10, 0.2), Scene(footage, 12, 15, 0.1)]
    answer = answer_over(scenes, QUESTION)
    found = {part.start: part.text for part in answer.parts}
    assert found == {s.span()[0]: engine.ask(s.seen(), QUESTION).text for s in scenes}
    assert answer.text == engine.ask(scenes[0].seen(), QUESTION).text


def test_what_is_said_is_read_where_it_is_said(engine, footage, monkeypatch):
    cues = (Cue(3.0, 4.0, "at an even frame"), Cue(5.0, 6.0, "between them"))
    answer = footage.ask(QUESTION, CHOICES, frames_by="uniform", cues=cues)
    seen = footage.seen([3, 9, 15, 21, 27])
    assert answer.scores == engine.ask(seen, QUESTION, CHOICES, said="at an even frame").scores
    assert answer.scores != engine.ask(seen, QUESTION, CHOICES).scores
    assert answer.warnings == ()
    scene = Scene(footage, 0, 10, 0.5, cues=cues)
    over = answer_over([scene], QUESTION, CHOICES)
    own = engine.ask(scene.seen(), QUESTION, CHOICES, said="at an even frame between them")
    assert over.probabilities == pytest.approx(own.probabilities, abs=1e-6)


def test_a_video_is_watched_in_pieces(engine, micro_video, monkeypatch):
    whole = watch(engine, micro_video)
    assert len(whole) == 20
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    steps: list[int] = []
    pieces = watch(engine, micro_video, progress=steps.append)
    assert steps == [7, 7, 6]
    assert pieces.image.times.tolist() == whole.image.times.tolist()
    torch.testing.assert_close(pieces.image.values, whole.image.values)
    assert watch(engine, micro_video, among=5).ask(
        QUESTION, CHOICES, frames_by="uniform"
    ).probabilities == pytest.approx(engine.ask(micro_video, QUESTION, CHOICES).probabilities, abs=1e-5)
    with pytest.raises(UsageError, match="among=4; expected 5 or more"):
        watch(engine, micro_video, among=4)


def test_what_is_refused(engine, footage):
    with pytest.raises(UsageError, match="hierarchical"):
        frames_by("hierarchic")
    assert frames_by("question") == "question"
    for by in ("uniform", "question", "hierarchical"):
        with pytest.raises(InputError, match="question: found nothing"):
            footage.ask("  ", frames_by=by)
        with pytest.raises(InputError, match="more than once"):
            footage.ask(QUESTION, ["red", "red"], frames_by=by)
    with pytest.raises(UsageError, match="no part"):
        answer_over([], QUESTION)
    other = Footage(engine, replace(footage.image, encoder="clip-other"))
    with pytest.raises(ArtifactMismatch, match="clip-other"):
        other.ask(QUESTION)
