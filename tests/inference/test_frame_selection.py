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
from topa.inference import projected_video as module
from topa.inference.frame_selection import check_frame_selection, segment
from topa.inference.generator import Completion
from topa.inference.projected_video import ProjectedVideo, encode_whole_video
from topa.inference.request import Request
from topa.inference.video_inputs import Segment, SegmentedInputs

QUESTION, CHOICES = "what colour is the ball ?", ("red", "blue", "green")


@pytest.fixture(scope="module")
def engine(micro_model: Path) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture
def video(engine: Topa) -> ProjectedVideo:
    """Thirty frames that show captions of the memory, as if the encoder saw them so."""
    values = functional.normalize(engine.memory.values[:30].float(), dim=-1)
    times = torch.arange(30, dtype=torch.float64) + 0.5
    return ProjectedVideo(
        engine, FrameFeatures(values, torch.ones(30, dtype=torch.bool), "image", engine.memory.encoder, times)
    )


def test_frames_are_projected_once_and_equal_to_the_engine(engine, video, monkeypatch):
    whole = engine.project([video.image])[0].values
    given = []
    project = engine.project

    def counting(images):
        given.append(sum(map(len, images)))
        return project(images)

    monkeypatch.setattr(engine, "project", counting)
    seen = video.inputs([3, 7, 3, 29])
    torch.testing.assert_close(seen.features.values, whole[[3, 7, 3, 29]])
    assert seen.times == (3.5, 7.5, 3.5, 29.5)
    assert list(seen.readings) == [engine.read(video.image)[n] for n in (3, 7, 3, 29)]
    torch.testing.assert_close(video.values(), whole)
    torch.testing.assert_close(video.values(2, 9), whole[2:9])
    assert given == [3, 27]


@pytest.mark.parametrize("by", ["uniform", "question"])
def test_a_question_to_some_frames_is_that_to_the_engine(engine, video, by):
    answer = engine.ask(video, QUESTION, CHOICES, frame_selection=by)
    assert (answer.frame_selection, len(answer.times), answer.parts) == (by, 5, ())
    assert answer == engine.ask(video.inputs([int(t) for t in answer.times], by), QUESTION, CHOICES)
    if by == "uniform":
        assert answer.times == (3.5, 9.5, 15.5, 21.5, 27.5)


def test_segments_count_as_much_as_they_are_like_the_question(engine, video):
    answer = engine.ask(video, QUESTION, CHOICES, frame_selection="hierarchical")
    assert answer.frame_selection == "hierarchical"
    assert 2 <= len(answer.parts) <= 4
    assert sum(part.share for part in answer.parts) == pytest.approx(1)
    assert [p.share for p in answer.parts] == sorted((p.share for p in answer.parts), reverse=True)
    assert all(part.end - part.start == 4 for part in answer.parts)
    first = answer.parts[0]
    assert len(answer.times) == len(answer.evidence) == 5
    assert all(first.start <= time <= first.end for time in answer.times)


@pytest.mark.parametrize("protocol", ["selection", "logits"])
def test_an_answer_over_parts_is_the_weighted_mean_of_each(engine, video, protocol):
    scenes = [segment(video, 0, 10, 0.1), segment(video, 12, 15, 0.4, path="b.mp4"), segment(video, 20, 30, 0.3)]
    answer = answer_over(engine, scenes, CHOICES, protocol)
    alone = [engine.ask(scene.inputs, QUESTION, CHOICES, protocol=protocol) for scene in scenes]
    weights = [math.exp(10 * scene.similarity) for scene in scenes]
    expected = [
        sum(w * a.probabilities[n] for w, a in zip(weights, alone, strict=True)) / sum(weights) for n in range(3)
    ]
    assert answer.probabilities == pytest.approx(expected, abs=1e-5)
    assert answer.scores == pytest.approx([-math.log(p) for p in expected], abs=1e-4)
    assert answer.choice == expected.index(max(expected))
    shares = {(p.start, p.end, p.video): (p.share, p.text) for p in answer.parts}
    for scene, weight, own in zip(scenes, weights, alone, strict=True):
        share, text = shares[(scene.start, scene.end, scene.video)]
        assert share == pytest.approx(
            weight * own.probabilities[answer.choice] / sum(weights) / expected[answer.choice], abs=1e-4
        )
        assert text == own.text
    assert answer.evidence == next(s for s in scenes if s.start == answer.parts[0].start).inputs.readings


def test_of_free_answers_the_one_with_most_weight_behind_it(engine, video, monkeypatch):
    texts = [Completion(text, (), "stop") for text in ("red", "blue", "red")]
    monkeypatch.setattr("topa.inference.execute.complete", lambda *given: texts)
    scenes = [segment(video, 0, 10, 0.2), segment(video, 10, 20, 0.25), segment(video, 20, 30, 0.2)]
    answer = answer_over(engine, scenes)
    assert (answer.text, answer.choice, answer.probabilities) == ("red", None, ())
    assert [(p.text, p.share) for p in answer.parts] == [("red", 0.5), ("red", 0.5), ("blue", 0)]


def test_free_answers_over_parts_are_those_of_each(engine, video):
    scenes = [segment(video, 0, 10, 0.2), segment(video, 12, 15, 0.1)]
    answer = answer_over(engine, scenes)
    found = {part.start: part.text for part in answer.parts}
    assert found == {s.start: engine.ask(s.inputs, QUESTION).text for s in scenes}
    assert answer.text == engine.ask(scenes[0].inputs, QUESTION).text


def test_what_is_said_is_read_where_it_is_said(engine, video, monkeypatch):
    cues = (Cue(3.0, 4.0, "at an even frame"), Cue(5.0, 6.0, "between them"))
    answer = engine.ask(video, QUESTION, CHOICES, subtitles=cues)
    seen = video.inputs([3, 9, 15, 21, 27])
    assert answer.scores == engine.ask(seen, QUESTION, CHOICES, subtitles="at an even frame").scores
    assert answer.scores != engine.ask(seen, QUESTION, CHOICES).scores
    assert answer.warnings == ()
    scene = segment(video, 0, 10, 0.5, cues=cues)
    over = answer_over(engine, [scene], CHOICES)
    own = engine.ask(scene.inputs, QUESTION, CHOICES, subtitles="at an even frame between them")
    assert over.probabilities == pytest.approx(own.probabilities, abs=1e-6)


def test_a_video_is_watched_in_pieces(engine, micro_video, monkeypatch):
    whole = encode_whole_video(engine, micro_video)
    assert len(whole) == 20
    monkeypatch.setattr(module, "_CHUNK", 7)
    steps: list[int] = []
    pieces = encode_whole_video(engine, micro_video, progress=steps.append)
    assert steps == [7, 7, 6]
    assert pieces.image.times.tolist() == whole.image.times.tolist()
    torch.testing.assert_close(pieces.image.values, whole.image.values)
    few = encode_whole_video(engine, micro_video, candidate_frames=5)
    expected = engine.ask(micro_video, QUESTION, CHOICES).probabilities
    assert engine.ask(few, QUESTION, CHOICES).probabilities == pytest.approx(expected, abs=1e-5)
    with pytest.raises(UsageError, match="candidate_frames=4; expected 5 or more"):
        encode_whole_video(engine, micro_video, candidate_frames=4)


def test_what_is_refused(engine, video):
    with pytest.raises(UsageError, match="hierarchical"):
        check_frame_selection("hierarchic")
    assert check_frame_selection("question") == "question"
    for by in ("uniform", "scenes", "question", "hierarchical"):
        with pytest.raises(InputError, match="question: found nothing"):
            engine.ask(video, "  ", frame_selection=by)
        with pytest.raises(InputError, match="more than once"):
            engine.ask(video, QUESTION, ["red", "red"], frame_selection=by)
    with pytest.raises(UsageError, match="no part"):
        answer_over(engine, [])
    other = ProjectedVideo(engine, replace(video.image, encoder="clip-other"))
    with pytest.raises(ArtifactMismatch, match="clip-other"):
        engine.ask(other, QUESTION)


def test_a_file_is_asked_by_any_selection_in_one_call(engine, micro_video, tmp_path):
    for by in ("uniform", "scenes", "question", "hierarchical"):
        answer = engine.ask(micro_video, QUESTION, CHOICES, frame_selection=by)
        assert answer.frame_selection == by
    assert engine.ask(micro_video, QUESTION, CHOICES, candidate_frames=20).frame_selection == "scenes"
    with pytest.raises(UsageError, match="needs the question"):
        engine.encode_video(micro_video, frame_selection="question")
    for ask in (engine.ask, lambda video, *_, **how: engine.encode_video(video, **how)):
        with pytest.raises(UsageError, match="did you mean 'scenes'"):
            ask(micro_video, QUESTION, CHOICES, frame_selection="scene")
    copy = tmp_path / "a.mp4"
    copy.write_bytes(micro_video.read_bytes())
    plain = engine.ask(copy, QUESTION, CHOICES, subtitles=True)
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:09,000\nthe ball is red\n")
    spoken = engine.ask(copy, QUESTION, CHOICES, subtitles=True)
    assert spoken.scores == engine.ask(copy, QUESTION, CHOICES, subtitles="the ball is red").scores != plain.scores


def answer_over(engine: Topa, scenes: list[Segment], choices: tuple[str, ...] = (), protocol: str | None = None):
    return engine.answer([Request(SegmentedInputs(tuple(scenes), "hierarchical"), QUESTION, choices, protocol)])[0]
