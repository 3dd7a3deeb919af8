"""Any Tideo of a file at once, and the index beside it: made, found again, made anew where the file has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.tideos.index import TideoFile
from topa.tideos.jsonl import read_jsonl, write_jsonl
from topa.tideos.tideo import TextFrame, Tideo


def tideo(name: str, words: str = "a ball rolls") -> Tideo:
    return Tideo(id=name, frames=(TextFrame(caption=words),), description="it moves")


NAMES = ["one", "zwölf\u2028", '"quoted" \\ id', "球", "x" * 300]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_jsonl([tideo(name, f"{name.strip()} rolls") for name in NAMES], tmp_path / "tideos.jsonl")
    return tmp_path / "tideos.jsonl"


def test_tideos_in_any_order(path: Path) -> None:
    everything = list(read_jsonl(path))
    for _ in range(2):  # with the index made, and found
        file = TideoFile.open(path, show=False)
        assert len(file) == len(NAMES)
        assert list(file.ids) == [one.id for one in everything]
        assert [file[i] for i in (3, 0, 4, -1)] == [everything[i] for i in (3, 0, 4, -1)]
        assert list(file) == everything
        assert file[1:3] == everything[1:3]
        assert file.ids.find([everything[2].id, "nobody"]).tolist() == [2, -1]
        with pytest.raises(IndexError):
            file[len(NAMES)]


def test_the_index_is_found_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TideoFile.open(path, show=False)
    assert path.with_name("tideos.jsonl.index").is_file()
    monkeypatch.setattr("topa.tideos.index._scan", lambda *_: pytest.fail("scanned again"))
    assert TideoFile.open(path, show=False)[1].frames[0].caption == "zwölf rolls"


def test_other_forms_of_lines(tmp_path: Path) -> None:
    """The id need not come first, a line may have spaces, and the last one no end."""
    first = json.dumps({"description": "d", "frames": [{"caption": "c"}], "id": " späť "}, ensure_ascii=False)
    second = '  { "id" :  "b\\u00e9",  "frames": [{"caption": "c"}], "description": "d"}  '
    (tmp_path / "own.jsonl").write_text(f"{first}\r\n{second}")
    file = TideoFile.open(tmp_path / "own.jsonl", show=False)
    assert list(file.ids) == ["späť", "bé"]
    assert [one.id for one in file] == ["späť", "bé"]


def test_a_changed_file_is_indexed_again(path: Path) -> None:
    TideoFile.open(path, show=False)
    whole = path.read_text()
    path.write_text(whole.replace('"one"', '"two"'))  # of the same size
    assert TideoFile.open(path, show=False).ids[0] == "two"
    with path.open("a") as file:
        file.write(tideo("more").model_dump_json() + "\n")
    assert len(TideoFile.open(path, show=False)) == len(NAMES) + 1
    index = path.with_name("tideos.jsonl.index")
    for damaged in (index.read_bytes()[:-3], b"", b"nothing"):
        index.write_bytes(damaged)
        assert len(TideoFile.open(path, show=False)) == len(NAMES) + 1


def test_a_change_that_the_index_did_not_see_is_told(path: Path) -> None:
    file = TideoFile.open(path, show=False)
    data = path.read_bytes().replace(b'"id":"one"', b'"id":"two"')
    with path.open("r+b") as raw:  # under the mapping
        raw.write(data)
    with pytest.raises(InputError, match=r"jsonl:1: found the id 'two'; expected 'one'.*remove the index"):
        file[0]


def test_without_a_place_for_the_index(path: Path) -> None:
    place = path.with_name("tideos.jsonl.index")
    place.mkdir()
    assert len(TideoFile.open(path, show=False)) == len(NAMES)
    assert not list(place.iterdir())
    assert sorted(place.parent.glob("[!.]*")) == [path, place]


def line(name: str) -> str:
    return tideo(name).model_dump_json() + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"own\.jsonl: found no Tideos"),
        (line("a") + line("b") + line("a"), r"own\.jsonl:3: found the id 'a' again, which is in line 1"),
        (line("a") + "[1]\n", r"own\.jsonl:2: found no JSON object with an id"),
        (line("a") + "\n" + line("b"), r"own\.jsonl:2: found no JSON object"),
        ('{"frames": []}\n', r"own\.jsonl:1: found no JSON object with an id \('id'\)"),
        ('{"frames": [], "id": 3}\n', r"own\.jsonl:1: id: found 3; expected a text"),
        ('{"id": " "}\n', r"own\.jsonl:1: id: found ' '"),
        (line("a")[:-8], r"own\.jsonl:1: .*EOF"),
    ],
)
def test_what_is_no_file_of_tideos(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        list(TideoFile.open(tmp_path / "own.jsonl", show=False))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl: can't be read"):
        TideoFile.open(tmp_path / "gone.jsonl", show=False)
    with pytest.raises(InputError, match="can't be read"):
        TideoFile.open(tmp_path, show=False)
