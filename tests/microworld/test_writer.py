"""Tideos and videos of the micro world as files: the same arguments, the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from topa.core.errors import OutputError
from topa.microworld.world import SCENES, Scene, Story
from topa.microworld.writer import duration, make_videos, write_tideos
from topa.tideos.tideo import Question, Tideo


def tideo_lines(count: int, seed: int, questions: int = 6) -> list[str]:
    return [t.model_dump_json() for t in write_tideos(count, seed, questions)]


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert tideo_lines(40, 3) == tideo_lines(40, 3)
    assert tideo_lines(40, 3) != tideo_lines(40, 4)
    assert tideo_lines(10, 3) == tideo_lines(40, 3)[:10]


def test_every_tideo_is_valid_and_whole() -> None:
    tideos = [Tideo.model_validate_json(line) for line in tideo_lines(200, 1, 4)]
    assert len({t.id for t in tideos}) == 200
    assert all(len(t.frames) == SCENES and t.frames[0].objects for t in tideos)
    assert max(len(t.questions) for t in tideos) == 4
    assert min(len(t.questions) for t in tideos) >= 1
    assert tideos[7].source == {"writer": "microworld", "seed": 1, "number": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    make_videos(out, 3, seed=2, show=False)
    return out


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_of_questions_are_questions_about_files_that_are_there(folder: Path) -> None:
    rows = lines(folder / "questions.jsonl")
    assert len({row["id"] for row in rows}) == len(rows) >= 9
    for row in rows:
        assert (folder / str(row.pop("video"))).is_file()
        row.pop("id")
        assert Question.model_validate(row).answer is not None
    assert len(list((folder / "videos").glob("*.mp4"))) == 3


def test_stories_tell_when_what_changes(folder: Path) -> None:
    rows = lines(folder / "stories.jsonl")
    assert len(rows) == 3
    for row in rows:
        scenes = [Scene(**s) for s in row["scenes"]]  # type: ignore[attr-defined]
        story = Story(tuple(scenes), tuple(row["changes"]))  # type: ignore[arg-type]
        with av.open(str(folder / str(row["video"]))) as container:
            assert container.duration is not None
            length = container.duration / 1e6
        assert duration(story) == pytest.approx(length, abs=0.01)
        for i, (time, aspect) in enumerate(row["events"]):  # type: ignore[arg-type]
            assert time == pytest.approx(length * (i + 1) / len(scenes), abs=0.01)
            before, after = scenes[i], scenes[i + 1]
            assert getattr(before, "kind" if aspect == "toy" else aspect) != getattr(
                after, "kind" if aspect == "toy" else aspect
            )


def test_videos_are_the_same_bytes_each_time_and_the_return_value_says_what_the_files_say(
    folder: Path, tmp_path: Path
) -> None:
    again = make_videos(tmp_path, 3, seed=2, show=False)
    for name in ("questions.jsonl", "stories.jsonl", *(f"videos/{v.path.name}" for v in again)):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    rows = lines(folder / "stories.jsonl")
    assert [r["id"] for r in rows] == [v.id for v in again]
    assert [r["description"] for r in rows] == [v.description for v in again]
    assert all(len(v.captions) == SCENES for v in again)


def test_a_place_that_cannot_be_written_is_an_error_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        make_videos(tmp_path / "file" / "x", 1, seed=0, show=False)
