"""The readers: public files as they are published, whole or bad, plain or in gzip."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from topa.core.errors import InputError
from topa.tideos import streams
from topa.tideos.sources import CAPTION_LENGTH, Kind, reader
from topa.tideos.streams import Stream

NOUNS = (
    "  1 This software and database is being provided to you, the LICENSEE, by  \n"
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | a member of the genus Canis; "
    'occurs in many breeds; "the dog barked all night"  \n'
    "00001930 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | an entity that has physical existence  \n"
)
INDEX = "  1 The licence\n.22 n 1 2 @ ~ 1 0 04502851  \nhot_dog n 3 2 @ ~ 3 1 10187710 07697537 07676602  \n"
VIDEOS = (
    "video_id,category_1,category_2,rank,task_id\nnVbIUDjzWY4,Cars,Motorcycles,27,52907\nrwmt7Cbuvfs,Cars,Cars,99,3\n"
)
EGO4D: dict[str, Any] = {
    "date": "210809",
    "videos": {
        "a": {
            "status": "complete",
            "narration_pass_1": {
                "narrations": [
                    {"timestamp_sec": 1.5, "narration_text": "#C C opens the door"},
                    {"timestamp_sec": 2.5, "narration_text": "#O A man X takes #unsure"},
                ],
                "summaries": [{"summary_text": "#Summary C cooked.", "start_sec": 0}],
            },
            "narration_pass_2": {"narrations": [{"narration_text": "#unsure C walks"}]},
        },
        "b": {"status": "redacted"},
    },
}


def texts(kind: Kind, path: Path, content: str | bytes, **options: str) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with Stream(path) as stream:
        return [" ".join(text.split()) for text in reader(kind, path, **options)(stream)]


CASES: list[tuple[Kind, str, str, list[str]]] = [
    ("howto100m", "titles.csv", "id,title\n1,Make Jam\n2,\n", ["Make Jam", ""]),
    ("howto100m", "task_ids.csv", '3\tFix a "Bike"\n\n52907\tRide, fast\n', ['Fix a "Bike"', "Ride, fast"]),
    (
        "howto100m",
        "caption.json",
        '{"v1": {"start": [0, 2], "end": [2, 3], "text": ["hello", "cut it"]}, "v2": {"text": []}}',
        ["hello cut it", ""],
    ),
    ("howto100m", "titles.json", '[{"title": "A"}, {"title": "B", "id": 2}]', ["A", "B"]),
    ("howto100m", "titles.json", '{"v1": {"title": "A"},\n "v2": "B"}\n', ["A", "B"]),
    ("howto100m", "titles.jsonl", '{"title": "A"}\n\n{"title": "B"}\n', ["A", "B"]),
    (
        "webvid",
        "results_2M_train.csv",
        'videoid,contentUrl,duration,page_dir,name\n1,http://a,PT00H00M11S,p,"Waves, ""big"", at\nnight"\n2,,,,Sky\n',
        ['Waves, "big", at night', "Sky"],
    ),
    (
        "ego4d",
        "narration.json",
        json.dumps(EGO4D),
        ["C opens the door", "A man X takes", "C cooked.", "C walks"],
    ),
    (
        "wordnet",
        "data.noun",
        NOUNS,
        [
            "dog: a member of the genus Canis; occurs in many breeds",
            "physical entity: an entity that has physical existence",
        ],
    ),
    ("wordnet", "index.noun", INDEX, [".22", "hot dog"]),
    ("text", "a.txt", "\ufeffone\r\n\ntwo, 二\n{three}", ["one", "", "two, 二", "{three}"]),
    ("text", "titles", '{"a": ]}\n[1]\n"b"\n3\n', ['{"a": ]}', "[1]", '"b"', "3"]),
    ("csv", "a.csv", "id,text\n1,one\n\n2,two\n", ["one", "two"]),
    ("csv", "a.txt", "text\none\n", ["one"]),
    ("jsonl", "a.jsonl", '{"text": "one"}\n{"text": "\\u4e8c"}', ["one", "二"]),
    ("jsonl", "a.json", '{"text": "one"}\n', ["one"]),
]


@pytest.mark.parametrize(("kind", "name", "content", "expected"), CASES)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_what_is_published_is_read(tmp_path, monkeypatch, kind, name, content, expected, chunk):
    """Whatever the chunks are that a document is read in: each character may be the last one of a chunk."""
    monkeypatch.setattr(streams, "_CHUNK", chunk)
    assert texts(kind, tmp_path / name, content) == expected
    assert texts(kind, tmp_path / f"{name}.gz", gzip.compress(content.encode())) == expected


def test_videos_get_the_titles_of_their_tasks(tmp_path):
    (tmp_path / "task_ids.csv").write_text("3\tFix a Bike\n4\tSwim\n")
    assert texts("howto100m", tmp_path / "HowTo100M_v1.csv", VIDEOS) == ["", "Fix a Bike"]


def test_long_speech_is_cut_between_captions(tmp_path):
    spoken = ["word " * 19 + "end"] * 9
    (text,) = texts("howto100m", tmp_path / "c.json", json.dumps({"v": {"text": spoken}}))
    assert text == " ".join(spoken[:3])
    assert len(text) <= CAPTION_LENGTH < len(" ".join(spoken[:4]))
    (text,) = texts("howto100m", tmp_path / "c.json", json.dumps({"v": {"text": ["x" * 500, "y"]}}))
    assert text == "x" * 500


def test_own_columns_and_fields_have_names(tmp_path):
    assert texts("csv", tmp_path / "a.csv", "what,text\nx,y\n", column="what") == ["x"]
    assert texts("jsonl", tmp_path / "a.jsonl", '{"what": "x", "text": "y"}', field="what") == ["x"]


BAD: list[tuple[Kind, str, str | bytes, str]] = [
    ("webvid", "a.csv", "videoid,title\n1,x\n", r"line 1: found the columns videoid, title; expected a column 'name'"),
    ("webvid", "a.csv", "videoid,name\n1,x\n2,y,z\n", r"line 3: found 3 columns; expected 2"),
    ("webvid", "a.csv", 'videoid,name\n1,"x\n', r"line 2: found malformed CSV"),
    ("webvid", "a.csv", b"videoid,name\n1,\xff\n", r"line 2: found the byte 0xff, which is no UTF-8"),
    ("webvid", "a.tsv", "name\nx\n", r"suffix '\.tsv'; expected \.csv for webvid"),
    ("webvid", "a.csv", "", r"found an empty file"),
    ("webvid", "a.csv.gz", gzip.compress(b"name\nx\n" * 99, mtime=0)[:-12], r"can't be read to its end .* damaged"),
    ("webvid", "a.csv.gz", b"\x1f\x8bxx", r"can't be read to its end"),
    ("csv", "a.csv", "id\n1\n", r"line 1: found the columns id; expected a column 'text' among them, or .* --column"),
    ("csv", "a.csv", '{"text": "x"}\n', r"line 1: found the columns \{"),
    ("text", "a.jsonl", 'x\n{"text": "x"}\n', r"line 2: found a JSON object; expected a text a line; .* jsonl=FILE"),
    ("text", "a", b"PAR1\x15\0\x15\n", r"line 1: found the byte 0x00, which is in no text"),
    ("jsonl", "a.txt", "one\n", r"line 1: found malformed JSON .* expected one JSON object a line"),
    ("jsonl", "a.jsonl", '{"text": "x"}\n{"text": \n', r"line 2: found malformed JSON"),
    ("jsonl", "a.jsonl", '{"text": "x"}\n[1]\n', r"line 2: found JSON of type list"),
    (
        "jsonl",
        "a.jsonl",
        '{"text": "x"}\n{"text": 3}\n',
        r"line 2: .* expected an object with a text 'text', or .* --field",
    ),
    ("jsonl", "a.jsonl", "[" * 100_000, r"line 1: found malformed JSON"),
    ("howto100m", "a.txt", "{}", r"suffix '\.txt'; expected \.csv, \.json, \.jsonl for howto100m"),
    ("webvid", "a", "x", r"suffix ''"),
    ("text", "a.txt", b"one\ntwo\nthr\xc3e", r"line 3: found the byte 0xc3"),
    ("howto100m", "a.csv", "video_id,rank\na,1\n", r"line 1: found the columns video_id, rank; expected 'title', or"),
    ("howto100m", "a.csv", "1\tx\n", r"only the list of tasks, task_ids\.csv, has tabs"),
    ("howto100m", "HowTo100M_v1.csv", VIDEOS, r"expected the titles of the tasks in .*task_ids\.csv\. Put"),
    ("howto100m", "task_ids.csv", "3\tx\nno tab\n", r"line 2: found 'no tab'"),
    ("howto100m", "a.json", '{"v": {"text": "x"}}', r"line 1: found a 'text' that is no list of captions"),
    (
        "howto100m",
        "a.json",
        '{"v": {"text": ["x"]},\n\n "w": {"start": [1]}}',
        r"line 3: .* expected an object with a text",
    ),
    ("howto100m", "a.json", '{"v": {"text": ["x"]},\n "w": {"text": [}}', r"line 2: found malformed JSON"),
    ("howto100m", "a.json", '{"v": {"text": ["x"]},\n "w": {"text": ["', r"line 2: found malformed JSON"),
    ("howto100m", "a.json", '{"v": "x"\n', r"found the end of the file; expected ',' or '}'"),
    ("howto100m", "a.json", '{"v": "x"} {', r"found '{' after the end"),
    ("howto100m", "a.json", '{v: "x"}', r"found 'v'; expected '\"'"),
    ("howto100m", "a.json", '"x"', r"expected '{' or '\['"),
    ("howto100m", "a.json", b'{"v": "x",\n"w": "\xff"}', r"line 2: found the byte 0xff"),
    ("howto100m", "a.json", '{"v": ' + "[" * 100_000, r"line 1: found malformed JSON"),
    ("ego4d", "a.json", '{"date": 1}', r"found no member 'videos'"),
    ("ego4d", "a.json", '{"videos": {"a": 3}}', r"found a pass that is None"),
    (
        "ego4d",
        "a.json",
        '{"videos": {"a": {"narration_pass_1": {"narrations": [{"text": "x"}]}}}}',
        r"'narration_text'",
    ),
    ("wordnet", "data.verb", "00001740 29 v 01 breathe 0 000 01 + 02 00 | draw air  \n", r"line 1: .* data\.noun"),
    ("wordnet", "data.noun", NOUNS + "what is this\n", r"line 4: found 'what is this"),
]


@pytest.mark.parametrize("chunk", [3, 1 << 16])
@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    BAD,
    ids=[f"{kind}-{name}-{number}" for number, (kind, name, *_) in enumerate(BAD)],
)
def test_what_is_bad_is_told(tmp_path, monkeypatch, kind, name, content, message, chunk):
    monkeypatch.setattr(streams, "_CHUNK", chunk)
    with pytest.raises(InputError, match=message) as error:
        texts(kind, tmp_path / name, content)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match="found a folder"):
        Stream(tmp_path)
    with pytest.raises(InputError, match="found nothing there"):
        Stream(tmp_path / "gone")


@pytest.mark.parametrize(
    ("kind", "content"), [("text", "x" * 5000), ("jsonl", "x" * 5000), ("howto100m", '{"v": "' + "x" * 9000)]
)
def test_a_file_without_ends_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, kind, content):
    monkeypatch.setattr(streams, "LONGEST", 1000)
    monkeypatch.setattr(streams, "_CHUNK", 100)
    with pytest.raises(InputError, match="of more than"):
        texts(kind, tmp_path / "a.json", content)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    count, title = 2000, "word " * 500
    rows = {
        "a.json": ["{", ",\n".join(f'"v{n}": {{"title": "{title}"}}' for n in range(count)), "}"],
        "a.csv": ["title\n", *(f"{title}\n" for _ in range(count))],
        "a.jsonl": [f'{{"title": "{title}"}}\n' for _ in range(count)],
    }[name]
    (tmp_path / name).write_text("".join(rows))
    del rows
    tracemalloc.start()
    with Stream(tmp_path / name) as stream:
        number = sum(1 for _ in reader("howto100m", tmp_path / name)(stream))
        assert stream.position == stream.size > 5_000_000 - 100
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == count
    assert peak < 1_000_000
