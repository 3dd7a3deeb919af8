"""What holds for every loader: all records, in the order of the file, each under a name of its own."""

from __future__ import annotations

import json

import pytest

from topa.core.errors import InputError
from topa.evals.catalogue import BENCHMARKS, Benchmark
from topa.evals.example import Example

from .published import WRITERS

FAULTS = {
    "",
    "the question is empty",
    "fewer than two options",
    "an option is empty",
    "the answer is none of the options",
    "the part has no length",
}


def read(name: str, folder) -> list[Example]:
    benchmark: Benchmark = BENCHMARKS.load(name)
    return list(benchmark.read(folder, WRITERS[name](folder).split))


def test_every_set_has_a_writer_here() -> None:
    assert set(WRITERS) == {name for name in BENCHMARKS if not name.startswith("microworld")}


@pytest.mark.parametrize("name", WRITERS)
def test_all_records_come_out_in_order_under_names_of_their_own(name, tmp_path) -> None:
    written = WRITERS[name](tmp_path)
    benchmark: Benchmark = BENCHMARKS.load(name)
    found = list(benchmark.read(tmp_path, written.split))
    assert benchmark.name == name
    assert written.split in benchmark.splits
    assert tuple(example.id for example in found) == written.ids
    assert len({example.id for example in found}) == len(found)
    assert list(benchmark.read(tmp_path, written.split)) == found


@pytest.mark.parametrize("name", WRITERS)
def test_examples_are_what_they_say(name, tmp_path) -> None:
    benchmark: Benchmark = BENCHMARKS.load(name)
    for example in read(name, tmp_path):
        assert example.fault in FAULTS
        assert example.path.is_relative_to(tmp_path)
        assert example.answer is None or 0 <= example.answer < len(example.options)
        assert (example.subtitles is not None) == benchmark.subtitles
        assert example.start is None or example.start == example.start, "NaN is no second"
        rows = benchmark.rows(example, 1000)
        assert len(range(1000)[rows]) > 0
        if benchmark.task == "caption":
            assert (example.question, example.options) == ("", ())
        elif benchmark.task == "open":
            assert (example.options, example.answer) == ((), None)
            assert example.question


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"own"}))
def test_a_folder_without_the_files_says_what_was_looked_for(name, tmp_path) -> None:
    benchmark: Benchmark = BENCHMARKS.load(name)
    split = next(iter(benchmark.splits))
    with pytest.raises(InputError, match=r"found none of .*\.(json|jsonl|csv|parquet).*; expected the .*--data"):
        list(benchmark.read(tmp_path, split))
    with pytest.raises(InputError, match="gone: found nothing there; expected the folder with the"):
        list(benchmark.read(tmp_path / "gone", split))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("damage", ["cut", "other", "bytes"])
def test_a_damaged_file_is_named(name, damage, tmp_path) -> None:
    """Cut off in the middle, holding something else, or no text at all."""
    written = WRITERS[name](tmp_path)
    path = tmp_path / written.file
    whole = path.read_bytes().rstrip()
    cut = whole.rfind(b"\n") + 6 if path.suffix == ".csv" else len(whole) - 30
    other = json.dumps([[1], {"a": 2}]).encode() + b"\n"
    path.write_bytes({"cut": whole[:cut], "other": other, "bytes": b"\xff\xfe\xfa" + whole[3:]}[damage])
    benchmark: Benchmark = BENCHMARKS.load(name)
    with pytest.raises(InputError) as raised:
        list(benchmark.read(tmp_path, written.split))
    assert path.name in str(raised.value)
    assert "expected" in str(raised.value)


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_file_is_named(name, tmp_path) -> None:
    split = WRITERS[name](tmp_path).split
    for path in tmp_path.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".csv"):
            path.write_bytes(b"")
    benchmark: Benchmark = BENCHMARKS.load(name)
    with pytest.raises(InputError, match="found an empty file; expected texts"):
        list(benchmark.read(tmp_path, split))
