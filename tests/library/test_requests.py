"""Questions to a library: answered from its features alone, with the moments that they rest on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from topa import Topa
from topa.core.embedded import resolve
from topa.core.errors import ArtifactMismatch, InputError, UsageError
from topa.features.encode_video import encode_video
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStoreWriter
from topa.inference.frame_selection import segment
from topa.inference.projected_video import ProjectedVideo
from topa.inference.request import Request
from topa.inference.video_inputs import SegmentedInputs
from topa.library.contents import Contents, Moment, Video
from topa.library.requests import LibraryRequests, find
from topa.microworld.writer import make_videos
from topa.tideos.tideo import Question

QUESTION, CHOICES = "what colour is the ball ?", ("red", "blue", "green")


@pytest.fixture(scope="module")
def engine(micro_model: Path) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture(scope="module")
def contents(engine: Topa, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """Three real videos of five seconds, four frames a second; their files are gone."""
    root = tmp_path_factory.mktemp("library")
    writer = FeatureStoreWriter(root / "features", engine.encoder.identity, engine.encoder.width, "image")
    videos = []
    for number, made in enumerate(make_videos(root, 3, 8, show=False)):
        writer.add(encode_video(made.path, engine.encoder, 20).features, f"id-{number}")
        videos.append(Video(f"id-{number}", str(made.path.relative_to(root)), 5.0, 20))
        made.path.unlink()
    return Contents([writer.close()], videos, root)


def moment(contents: Contents, video: int, start: float, end: float) -> Moment:
    return Moment(contents.videos[video], start, end, 1.0, (start, end))


def over_all(requests: LibraryRequests, **more):
    return requests.engine.answer([requests.over_all(QUESTION, CHOICES, **more)])[0]


def about(requests: LibraryRequests, video: Video | str, **more):
    return requests.engine.answer([requests.about(video, QUESTION, CHOICES, **more)])[0]


def test_moments_are_read_and_cited(engine, contents):
    found = [
        moment(contents, 1, 0, 1.9),
        moment(contents, 0, 2, 2.2),
        moment(contents, 1, 1.5, 3),
        moment(contents, 2, 4.9, 5),
    ]
    asked = []

    def search(query: torch.Tensor, top: int) -> list[Moment]:
        asked.append((query, top))
        return found

    requests = LibraryRequests(engine, contents, search)
    answer = over_all(requests, top=4)
    ((query, top),) = asked
    assert (top, query.shape) == (4, (engine.encoder.width,))
    expected = engine.encoder.encode_texts([f"colour ball {choice}" for choice in CHOICES]).mean(dim=0)
    torch.testing.assert_close(query, functional.normalize(expected, dim=-1))
    # The third moment overlaps the first; short ones get neighbours, as many as the model reads.
    scenes = []
    for video, start, end in ((1, 0, 8), (0, 6, 11), (2, 15, 20)):
        projected = ProjectedVideo(engine, contents.features(contents.videos[video]))
        similarity = float((projected.values(start, end) @ query).topk(2).values.mean())
        scenes.append(segment(projected, start, end, similarity, path=contents.videos[video].path))
    assert [answer] == engine.answer([Request(SegmentedInputs(tuple(scenes), "search"), QUESTION, CHOICES)])
    assert {part.video for part in answer.parts} == {video.path for video in contents.videos}


def test_a_video_of_a_library_is_not_decoded(engine, contents):
    requests = LibraryRequests(engine, contents)
    video = contents.videos[1]
    for by in ("uniform", "question", "hierarchical"):
        answer = about(requests, video, frame_selection=by)
        projected = ProjectedVideo(engine, contents.features(video))
        expected = engine.ask(projected, QUESTION, CHOICES, frame_selection=by)
        # What the frames are read as is computed for those of all three ways together, to the last bit or so.
        assert replace(answer, evidence=()) == replace(expected, evidence=())
        assert [e.time for e in answer.evidence] == [e.time for e in expected.evidence]
        assert about(requests, video.path, frame_selection=by) == answer


def test_many_questions_are_asked_at_once(engine, contents):
    requests = LibraryRequests(engine, contents)
    asked = [
        Question(question=QUESTION, options=CHOICES),
        Question(question="where is it ?", options=("here", "there")),
    ]
    built = [requests.about(contents.videos[1].path, own.question, own.options) for own in asked]
    for request, answer in zip(built, engine.answer(built), strict=True):
        assert engine.answer([request])[0].probabilities == pytest.approx(answer.probabilities, abs=1e-5)


def test_frames_stay_projected(engine, contents, monkeypatch):
    requests = LibraryRequests(engine, contents)
    about(requests, contents.videos[0])
    monkeypatch.setattr(engine, "project", lambda images: pytest.fail("projected again"))
    monkeypatch.setattr(engine, "read", lambda images: pytest.fail("read again"))
    about(requests, contents.videos[0])
    assert requests.video(contents.videos[0]) is requests.video(contents.videos[0])


def test_what_is_said_beside_the_videos(engine, contents):
    video = contents.videos[2]
    beside = contents.file(video).with_suffix(".en.srt")
    beside.write_text(
        "1\n00:00:00,000 --> 00:00:01,500\nthe ball is red\n\n2\n00:00:04,000 --> 00:00:05,000\nthe end\n"
    )
    requests = LibraryRequests(engine, contents, lambda query, top: [moment(contents, 2, 0, 1.9)])
    plain, told = (over_all(requests, subtitles=s) for s in (False, True))
    projected = requests.video(video)
    own = engine.ask(segment(projected, 0, 8, 1.0).inputs, QUESTION, CHOICES, subtitles="the ball is red")
    assert told.probabilities == pytest.approx(own.probabilities, abs=1e-6)
    assert told.probabilities != plain.probabilities
    whole = about(requests, video, subtitles=True)
    inputs = projected.inputs([2, 6, 10, 14, 18])
    assert whole.scores == engine.ask(inputs, QUESTION, CHOICES, subtitles="the ball is red the end").scores
    beside.unlink()


def test_videos_are_found_by_their_path(engine, contents):
    video = contents.videos[1]
    for path in (video.path, contents.file(video), Path(video.path).name):
        assert find(contents, path) is video
    twice = Contents(
        contents._stores, [*contents.videos, Video("id-0", f"other/{Path(video.path).name}", 5.0, 20)], contents.root
    )
    with pytest.raises(InputError, match=r"found 2 videos of that name: other/.*Give more of it"):
        find(twice, Path(video.path).name)
    assert find(twice, video.path) == video
    with pytest.raises(InputError, match=rf"found no such video among 3 .*Did you mean {video.path}.*topa index"):
        find(contents, video.path + "x")


def test_what_is_refused(engine, contents):
    with pytest.raises(UsageError, match="found no search"):
        LibraryRequests(engine, contents).over_all(QUESTION)
    requests = LibraryRequests(engine, contents, lambda query, top: [])
    with pytest.raises(InputError, match="found no moment in 3 videos"):
        requests.over_all(QUESTION)
    with pytest.raises(UsageError, match="top=0"):
        requests.over_all(QUESTION, top=0)
    with pytest.raises(InputError, match="question: found nothing"):
        requests.over_all(" ")


def test_a_library_of_another_encoder(engine, tmp_path):
    writer = FeatureStoreWriter(tmp_path / "features", "clip-other", 64, "image")
    values = functional.normalize(torch.randn(5, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    times = torch.arange(5, dtype=torch.float64)
    writer.add(FrameFeatures.image(values, "clip-other", times), "id")
    other = Contents([writer.close()], [Video("id", "a.mp4", 5.0, 5)], tmp_path)
    with pytest.raises(ArtifactMismatch, match="clip-other"):
        LibraryRequests(engine, other, lambda query, top: [moment(other, 0, 0, 2)]).over_all(QUESTION)
    with pytest.raises(ArtifactMismatch, match="clip-other"):
        LibraryRequests(engine, other).about("a.mp4", QUESTION)


def test_a_library_is_asked_from_the_command_line(topa, micro_model, tmp_path, monkeypatch):
    videos = make_videos(tmp_path / "own", 2, 8, show=False)
    library, encoder = tmp_path / "LIB", ("--encoder", "microworld/clip")
    assert topa("index", tmp_path / "own" / "videos", "--out", library, *encoder).code == 0
    monkeypatch.setattr("av.open", lambda *given, **more: pytest.fail("a video was opened"))
    words = ("ask", library, QUESTION, "--choice", "red", "--choice", "blue", "--model", micro_model)
    done = topa(*words, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["frames_by"] == told["frame_selection"] == "search"
    assert {Path(part["video"]).name for part in told["parts"]} <= {video.path.name for video in videos}
    one = topa(*words, "--top", 1)
    assert one.code == 0
    assert sum(" s: " in line for line in one.out.splitlines()) == 1
    for by in ("uniform", "question", "hierarchical"):
        done = topa(*words, "--video", videos[1].path.name, "--frames-by", by, "--json")
        assert (done.code, json.loads(done.out)["frames_by"]) == (0, by), done.err
    done = topa(*words, "--video", "nowhere.mp4")
    assert done.code == 2
    assert "nowhere.mp4: found no such video among 2" in done.err
    done = topa("ask", tmp_path, QUESTION, "--model", micro_model)
    assert (done.code, done.out) == (2, "")
    assert "or a library" in done.err
