"""Multiple choice sets: what becomes of the odd records of each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals.catalogue import BENCHMARKS
from topa.evals.example import Example

from .published import (
    ODD,
    WRITERS,
    as_csv,
    as_json,
    as_lines,
    egoschema,
    star_item,
    tvqa_line,
    video,
    videomme,
    videomme_rows,
)


def read(name: str, folder: Path, split: str | None = None) -> list[Example]:
    written = WRITERS[name](folder)
    return list(BENCHMARKS.load(name).read(folder, split or written.split))


def again(name: str, folder: Path, split: str) -> list[Example]:
    return list(BENCHMARKS.load(name).read(folder, split))


def test_egoschema(tmp_path) -> None:
    first, second, third, fourth = read("egoschema", tmp_path)
    assert (first.hidden, second.answer, third.hidden, fourth.answer) == (True, 2, True, 4)
    assert first.path == tmp_path / "videos" / f"{first.id}.mp4"
    assert second.path == tmp_path / f"{second.id}.mp4"
    assert second.question == ODD
    assert third.options[:2] == ("C does 0, twice.", "C does 0, twice.")
    assert third.fault == ""
    subset = again("egoschema", tmp_path, "subset")
    assert [example.id for example in subset] == [second.id, fourth.id]
    (tmp_path / "subset_answers.json").unlink()
    assert all(example.hidden for example in again("egoschema", tmp_path, "full"))
    with pytest.raises(InputError, match=r"subset_answers.json: found nothing there; expected the 500"):
        again("egoschema", tmp_path, "subset")


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json"])
def test_egoschema_as_rows(tmp_path, form) -> None:
    letters = [f"{letter}. option, {letter}" for letter in "ABCDE"]
    rows = [
        {"question_idx": "1", "question": ODD, "video_idx": "u1", "option": letters, "answer": "3"},
        {"question_idx": "2", "question": "q", "video_idx": "u2", "option": letters, "answer": None},
    ]
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        (tmp_path / "Subset").mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "Subset" / "test-00000-of-00001.parquet")
    else:
        {"jsonl": as_lines, "json": as_json}[form](tmp_path / f"subset.{form}", rows)
    first, second = again("egoschema", tmp_path, "subset")
    assert (first.id, first.answer, second.answer) == ("u1", 3, None)
    assert first.options == tuple(f"option, {letter}" for letter in "ABCDE")


def test_egoschema_as_released_with_topa(tmp_path) -> None:
    header = "uid,question,a0,a1,a2,a3,a4,answer"
    as_csv(tmp_path / "val.csv", header, [["u1", ODD, *"abcde", 4], ["u2", 'q "x", y', *"aabcd", ""]])
    first, second = again("egoschema", tmp_path, "subset")
    assert (first.id, first.question, first.answer, second.answer) == ("u1", ODD, 4, None)
    as_csv(tmp_path / "val.csv", header, [["u1", ODD, *"abcde", 4], ["u1", ODD, *"abcde", "x"]])
    with pytest.raises(InputError, match=r"val.csv, line 3: found the answer 'x'; expected a number from 0 to 4"):
        again("egoschema", tmp_path, "subset")


def test_a_parquet_file_that_is_none(tmp_path) -> None:
    (tmp_path / "MC").mkdir()
    (tmp_path / "MC" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"parquet: can't be read as Parquet .* expected rows with video_idx"):
        again("egoschema", tmp_path, "full")


def test_nextqa(tmp_path) -> None:
    found = read("nextqa", tmp_path)
    assert found[0].path == tmp_path / "NExTVideo" / "1009" / "4010069381.mp4"
    assert found[1].options == ("wait, then go", "“non”", "小猫", 'say "no"', "x")
    assert found[2].options == ("two", "one", "two", "four", "five")
    assert [example.answer for example in found] == [3, 0, 1, None, None, 0]
    assert [example.fault for example in found] == ["", "", "", "", "the answer is none of the options", ""]
    assert [example.hidden for example in found] == [False, False, False, True, False, False]
    assert [example.groups for example in found[1:3]] == [(("family", "temporal"),), (("family", "descriptive"),)]
    assert found[3].path == tmp_path / "77.mp4"


def test_intentqa(tmp_path) -> None:
    how, before, empty = read("intentqa", tmp_path)
    assert (how.answer, how.kind, how.groups) == (4, "CH", (("part", "how"),))
    assert (before.question, before.options[0], before.groups) == (ODD, "a, b", (("part", "before and after"),))
    assert empty.fault == "an option is empty"


def test_star(tmp_path) -> None:
    tidied, twice, hidden, moon, short = read("star", tmp_path)
    assert tidied.options[0] == 'The "blanket", the café\'s.'
    assert (tidied.answer, tidied.kind, tidied.start, tidied.end) == (2, "Interaction", 11.1, 19.6)
    assert tidied.path == tmp_path / "Charades_v1_480" / "6H78U.mp4"
    assert (twice.answer, twice.fault, twice.options[:2]) == (0, "", ("The bag.", "The bag."))
    assert (hidden.hidden, hidden.path) == (True, tmp_path / "other.mp4")
    assert (moon.answer, moon.references, moon.fault) == (None, ("The moon.",), "the answer is none of the options")
    assert not moon.hidden
    assert short.fault == "the part has no length"


@pytest.mark.parametrize(("start", "end", "slices"), [(11.1, 19.6, (11, 21)), (0.4, 2.5, (0, 3)), (3, 3.2, (3, 4))])
def test_star_reads_features_by_the_second_and_the_last_one_too(tmp_path, start, end, slices) -> None:
    as_json(tmp_path / "STAR_val.json", [star_item("Interaction_T1_1", start=start, end=end)])
    (example,) = again("star", tmp_path, "val")
    assert BENCHMARKS.load("star").rows(example, 40) == slice(*slices)


def test_star_with_nan_and_zipped(tmp_path) -> None:
    """Python's own reader takes over; the whole clip is meant."""
    text = json.dumps([star_item("Interaction_T1_1", start=float("nan"), end=float("nan")), star_item("Sequence_T1_1")])
    assert "NaN" in text
    (tmp_path / "STAR_val.json").write_bytes(gzip.compress(text.encode()))
    first, second = again("star", tmp_path, "val")
    assert (first.start, first.end, first.fault) == (None, None, "")
    assert BENCHMARKS.load("star").rows(first, 40) == slice(0, 40)
    assert second.start == 11.1


def test_what_is_wrong_has_a_line(tmp_path) -> None:
    items = [star_item("Interaction_T1_1"), star_item("Interaction_T1_2", start="soon")]
    (tmp_path / "STAR_val.json").write_text(json.dumps(items, indent=1))
    line = json.dumps(items[:1], indent=1).count("\n") + 1
    with pytest.raises(InputError, match=rf"STAR_val.json, line {line}: found an item that isn't a question of STAR"):
        again("star", tmp_path, "val")


def test_tvqa(tmp_path) -> None:
    part, whole, twice, hidden, short = read("tvqa", tmp_path)
    assert (part.path, part.fps) == (tmp_path / "frames_hq" / "met_frames" / part.video, 3.0)
    assert (part.start, part.end, part.answer, part.kind) == (1.21, 8.49, 4, "How I Met You Mother")
    assert (whole.path, whole.start, whole.end) == (tmp_path / "frames_hq" / "bbt_frames" / whole.video, None, None)
    assert (twice.path, twice.fps, twice.fault) == (tmp_path / "castle_s01.mp4", None, "")
    assert twice.subtitles == tmp_path / "tvqa_subtitles" / "castle_s01.srt"
    assert (hidden.hidden, hidden.start, hidden.end) == (True, None, 8.5)
    assert (hidden.path, hidden.fps, hidden.subtitles) == (tmp_path / "gone.mp4", None, tmp_path / "gone.srt")
    assert short.fault == "the part has no length"


@pytest.mark.parametrize(("stamps", "slices"), [("1.21-8.49", (3, 28)), ("nan-nan", (0, 99)), ("2-nan", (6, 99))])
def test_tvqa_reads_three_features_a_second(tmp_path, stamps, slices) -> None:
    as_lines(tmp_path / "tvqa_test_public.jsonl", [tvqa_line(1, ts=stamps, answer_idx=...)])
    (example,) = again("tvqa", tmp_path, "test")
    assert BENCHMARKS.load("tvqa").rows(example, 99) == slice(*slices)


def test_mvbench(tmp_path) -> None:
    found = {example.id: example for example in read("mvbench", tmp_path)}
    assert len(found) == 40
    sequence, frames = found["action_sequence_0"], found["episodic_reasoning_1"]
    assert (sequence.path, sequence.start, sequence.end, sequence.answer, sequence.fps) == (
        tmp_path / "video" / "star" / "Charades_v1_480" / "a.mp4", 3.0, 7.5, 1, None
    )  # fmt: skip
    assert (frames.path, frames.fps) == (tmp_path / "tvqa" / "frames_fps3_hq" / "clip_00", 3.0)
    assert (frames.answer, frames.options, frames.fault) == (1, ("3", "4", "3"), "")
    assert found["action_count_0"].start is None
    assert {example.kind for example in found.values() if example.start is not None} == {
        "action_sequence", "action_prediction", "object_interaction", "action_localization", "episodic_reasoning"
    }  # fmt: skip
    (tmp_path / "json" / "state_change.json").unlink()
    with pytest.raises(InputError, match=r"found none of json/state_change.json, state_change.json; expected the"):
        again("mvbench", tmp_path, "test")


def test_videomme(tmp_path) -> None:
    first, second, third, fourth = read("videomme", tmp_path)
    assert first.options[1:3] == ("Candles, red.", "Berries.")
    assert (first.answer, first.kind, dict(first.groups)["duration"]) == (2, "Counting Problem", "short")
    assert first.path == tmp_path / "data" / "fFjv93ACGo8.mp4"
    assert first.subtitles == tmp_path / "subtitle" / "fFjv93ACGo8.srt"
    assert (second.options, second.answer, second.fault) == (("x", "x", "C. difficile", "y"), 0, "")
    assert (third.options, third.hidden) == (("one", "B. two", "three", "four"), True)
    assert (fourth.fault, fourth.references) == ("the answer is none of the options", ("4",))


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_videomme_in_its_other_forms(tmp_path, form) -> None:
    videomme(tmp_path)
    expected = again("videomme", tmp_path, "test")
    (tmp_path / "Video-MME.json").unlink()
    if form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        (tmp_path / "videomme").mkdir()
        table = pa.Table.from_pylist(videomme_rows())
        pq.write_table(table, tmp_path / "videomme" / "test-00000-of-00001.parquet")
    else:
        as_lines(tmp_path / "Video-MME.jsonl", videomme_rows())
    assert again("videomme", tmp_path, "test") == expected


def test_perception(tmp_path) -> None:
    first, second, hidden, twice = read("perception", tmp_path)
    assert (first.answer, first.kind, first.groups, second.kind) == (
        2,
        "Physics",
        (("reasoning", "Predictive"),),
        "Memory",
    )
    assert first.options == ("one", "two, or", "three")
    assert (hidden.hidden, hidden.path) == (True, tmp_path / "videos" / "video_1.mp4")
    assert twice.options == ("a", "a", "b")


def test_own(tmp_path) -> None:
    first, second, third = read("own", tmp_path)
    assert (first.answer, first.video, first.path) == (1, "a.mp4", tmp_path / "a.mp4")
    assert (second.references, second.options, second.start) == (("a cat, grey",), (), 1.0)
    assert second.path == tmp_path / "in" / "b.mp4"
    assert (third.options, third.answer, third.fault) == (("red", "red", "blue"), 0, "")
    assert again("own", tmp_path / "questions.jsonl", "all") == [first, second, third]
    with pytest.raises(InputError, match=r"found no questions.jsonl in it; expected your questions"):
        again("own", video(tmp_path, "empty/x.mp4").parent, "all")


def test_names_do_not_lead_out_of_the_folder(tmp_path) -> None:
    folder = tmp_path / "in"
    egoschema(folder)
    items = json.loads((folder / "questions.json").read_text())
    items[0]["q_uid"], items[1]["q_uid"] = "../secret", f"{tmp_path}/secret"
    as_json(folder / "questions.json", items)
    video(tmp_path, "secret.mp4")
    for example in again("egoschema", folder, "full")[:2]:
        assert example.path.resolve().is_relative_to(folder)
        assert not example.path.exists()
