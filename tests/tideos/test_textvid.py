"""The published file to Tideos and back: nothing lost, nothing dropped without being counted."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from topa.core.errors import InputError
from topa.tideos import textvid
from topa.tideos.drop_counts import DropCounts
from topa.tideos.jsonl import read_jsonl, write_jsonl
from topa.tideos.parquet import write_parquet
from topa.tideos.textvid import read_textvid, to_record, write_textvid
from topa.tideos.tideo import Question, TextFrame, Tideo

from .replies import from_row


def record(idx: Any = "a", **changes: Any) -> dict[str, Any]:
    """A record as published, with changes."""
    frames = [
        {"Frame 1": f"a cook, {idx}", "obj one": "an onion", "x": "a knife"},
        {"caption": "ünïcode 球 \u2028 end"},
    ]
    questions = [
        {"question": "what ?", "options": ["an onion", "a leek"], "answer": "B", "answer_open_ended": "a leek"},
        {"question": "why ?", "options": ["hunger", "fun", "habit"], "answer": "A"},
    ]
    return {"idx": idx, "frames": frames, "QAs": questions, "global_video_caption": "someone cooks", **changes}


def write(path: Path, records: Any, **how: Any) -> Path:
    path.write_text(json.dumps(records, **how), encoding="utf-8")
    return path


def read(path: Path) -> tuple[list[Tideo], DropCounts]:
    tally = DropCounts()
    return list(read_textvid(path, tally)), tally


@pytest.fixture(params=[1, 7, 100, 1 << 18])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of several sizes: borders fall everywhere in a record."""
    monkeypatch.setattr(textvid, "_CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("how", [{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}])
def test_what_a_record_becomes(tmp_path, how):
    (first, second), tally = read(write(tmp_path / "t.json", [record(), record(7)], **how))
    assert (first.id, second.id) == ("a", "7")
    assert first.frames[0] == TextFrame(caption="a cook, a", objects=("an onion", "a knife"))
    assert first.frames[1].caption == "ünïcode 球 \u2028 end"
    assert first.description == "someone cooks"
    assert first.questions[0] == Question(
        question="what ?", options=("an onion", "a leek"), answer=1, answer_text="a leek"
    )
    assert [q.right for q in first.questions] == ["a leek", "hunger"]
    assert tally.total == 0
    assert read(write(tmp_path / "none.json", [], **how))[0] == []


def test_back_and_forth_loses_nothing(tmp_path):
    tideos, _ = read(write(tmp_path / "t.json", [record(), record(7, topic="food"), record("c", QAs=[])]))
    assert write_textvid(tideos, tmp_path / "back.json") == 3
    again, tally = read(tmp_path / "back.json")
    assert again == tideos
    assert tally.total == 0
    records = json.loads((tmp_path / "back.json").read_text(encoding="utf-8"))
    assert [r["idx"] for r in records] == ["a", 7, "c"]
    assert [list(f.values()) for f in records[1]["frames"]] == [list(f.values()) for f in record(7)["frames"]]
    assert {k: v for k, v in records[1].items() if k != "frames"} == {
        k: v for k, v in record(7, topic="food").items() if k != "frames"
    }
    assert write_textvid([], tmp_path / "none.json") == 0
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_what_cannot_be_used_is_counted_and_named(tmp_path):
    good = {"question": "q", "options": ["x", "y"], "answer": "A"}
    bad = [
        "text",
        record(None),
        record("b", global_video_caption=" "),
        record("c", frames=[]),
        record("d", frames=[{"x": "words"}, {"x": ""}]),
        record("e", frames=["words"]),
        record("f", QAs={}),
        record("a"),
        record("g", global_video_caption="half a pair \ud83d"),
        record(
            "h",
            frames=[{"x": "", "y": "words", "z": None}],
            QAs=[
                good,
                {**good, "answer": "C"},
                {**good, "answer": 3},
                {**good, "options": ["x", "x"]},
                {**good, "options": ["x", 2]},
                {**good, "options": list("uvwxyz")},
                {**good, "question": ""},
                {"question": "q"},
                None,
                {**good, "answer": "(b)"},
            ],
        ),
    ]
    tideos, tally = read(write(tmp_path / "t.json", [record(), *bad]))
    assert [t.id for t in tideos] == ["a", "h"]
    assert tally.examples == {
        "record: not an object": ["item 1"],
        "record: no idx": ["None"],
        "record: no global_video_caption": ["b"],
        "record: no frames": ["c"],
        "record: a frame without a caption": ["d"],
        "record: a frame that is not an object of captions": ["e"],
        "record: QAs are no list": ["f"],
        "record: its idx came before": ["a"],
        "record: Input should be a valid string, unable to parse raw data as a unicode string": ["g"],
        "caption: no words": ["h", "h"],
        "question: the answer is no letter of an option": ["h", "h"],
        "question: options repeat": ["h"],
        "question: options: Input should be a valid string": ["h"],
        "question: options are no list of up to 5": ["h"],
        "question: question: String should have at least 1 character": ["h"],
        "question: no answer": ["h"],
        "question: not an object": ["h"],
    }
    assert tally.counts["question: the answer is no letter of an option"] == 2
    assert tally.total == 19
    (tideo,) = [t for t in tideos if t.id == "h"]
    assert [q.answer for q in tideo.questions] == [0, 1]
    assert tideo.frames == (TextFrame(caption="words"),)
    assert tideo.source["textvid"]["rows"] == [3]


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found '' at the start"),
        ('{"a": 1}', "found '{' at the start"),
        ('[{"idx": 1} {"idx": 2}]', "found '{' behind item 0"),
        ('[{"idx": 1}, {"idx": ', "item 1 is damaged or cut off"),
        ('[{"idx": 1},]', "item 1 is damaged or cut off"),
        ('[{"idx": 1}', "found '' behind item 0"),
        ("[1, 2] x", "found 'x' behind the list"),
        ('[{"idx" 1}]', r"item 0 is damaged or cut off: Expecting ':'"),
        ("[" * 100_000, "nested too deeply|damaged"),
    ],
)
def test_a_damaged_file_says_where(tmp_path, text, message):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"t\.json: at character [\d,]+: .*({message})"):
        read(path)


def test_a_missing_and_a_binary_file(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read(tmp_path / "missing.json")
    (tmp_path / "t.json").write_bytes(b"[\xff\xfe")
    with pytest.raises(InputError, match="can't be read"):
        read(tmp_path / "t.json")


def test_a_record_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(textvid, "_CHUNK", 64)
    monkeypatch.setattr(textvid, "_LONGEST", 1000)
    (tmp_path / "t.json").write_text('[{"idx": "' + "x" * 100_000)
    sizes = []
    monkeypatch.setattr(
        textvid._Window, "_more", lambda self, n, real=textvid._Window._more: (sizes.append(n), real(self, n))[1]
    )
    with pytest.raises(InputError, match="item 0 is damaged"):
        read(tmp_path / "t.json")
    assert sum(sizes) < 3000


def test_memory_does_not_grow_with_the_file(tmp_path):
    body = json.dumps(record("X", filler="y" * 3000))
    peaks = []
    for count in (200, 8000):
        with (tmp_path / "t.json").open("w") as file:
            file.write("[" + ",".join(body.replace('"X"', f'"{i}"') for i in range(count)) + "]")
        tracemalloc.start()
        assert sum(1 for _ in read_textvid(tmp_path / "t.json", DropCounts())) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "t.json").stat().st_size > 24e6
    assert peaks[1] - peaks[0] < 3e6


def test_what_the_published_form_cannot_hold(tmp_path):
    question = Question(question="?", options=tuple("uvwxyz"), answer=5)
    tideo = Tideo(id="six", frames=(TextFrame(caption="x"),), description="d", questions=(question,))
    with pytest.raises(InputError, match=r"'six'.*6 options"):
        write_textvid([tideo], tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == []
    assert to_record(tideo.model_copy(update={"questions": ()}))["idx"] == "six"


def test_json_lines_go_by_newlines_alone(tmp_path):
    tideos, _ = read(write(tmp_path / "t.json", [record(), record("b")]))
    assert write_jsonl(tideos, tmp_path / "t.jsonl") == 2
    assert list(read_jsonl(tmp_path / "t.jsonl")) == tideos
    with (tmp_path / "t.jsonl").open("a") as file:
        file.write('{"id": "c"}\n')
    with pytest.raises(InputError, match=r"t\.jsonl:3: frames: Field required"):
        list(read_jsonl(tmp_path / "t.jsonl"))


def test_datasets_reads_the_parquet(tmp_path, monkeypatch):
    from datasets import load_dataset

    tideos, _ = read(write(tmp_path / "t.json", [record(i, topic="food") for i in range(3)]))
    bare = Tideo(id="bare", frames=(TextFrame(caption="x"),), description="d")
    monkeypatch.setattr("topa.tideos.parquet._GROUP", 2)
    assert write_parquet([*tideos, bare], tmp_path / "t.parquet") == 4
    loaded = load_dataset("parquet", data_files=str(tmp_path / "t.parquet"), cache_dir=str(tmp_path / "cache"))
    assert [from_row(row) for row in loaded["train"]] == [*tideos, bare]
    assert loaded["train"].column_names == ["id", "frames", "description", "questions", "source"]


def test_a_parquet_file_is_whole_or_not_there(tmp_path):
    def failing():
        yield Tideo(id="bare", frames=(TextFrame(caption="x"),), description="d")
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_parquet(failing(), tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []
