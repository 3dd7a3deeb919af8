"""Seeds: the sample, its mixture, and what `topa seeds` answers to good and to bad requests."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from topa.core.errors import InputError, UsageError
from topa.tideos.seeds import Seed, SeedSource, read_seeds, sample, write_seeds

WORDNET = Path("/usr/share/wordnet")


def own(path: Path, texts: list[str], weight: float = 1.0) -> SeedSource:
    path.write_text("".join(f"{text}\n" for text in texts))
    return SeedSource("text", path, weight)


def numbers(start: int, stop: int) -> list[str]:
    return [f"text {n}" for n in range(start, stop)]


def test_a_seed_is_known_by_its_text():
    seed = Seed.make("webvid", "a cook")
    assert (seed.kind, seed.id) == ("webvid", "webvid-" + seed.id[-16:])
    assert seed == Seed.make("webvid", "a cook")
    assert seed.id != Seed.make("webvid", "a book").id
    # However a user's own file is written, the writer is asked in the words for "own".
    assert {Seed.make(kind, "a cook").kind for kind in ("text", "csv", "jsonl")} == {"own"}
    assert len({Seed.make(kind, "a cook").id for kind in ("text", "csv", "jsonl")}) == 1
    assert Seed.model_validate_json(seed.model_dump_json()) == seed
    for bad in ({"text": " "}, {"kind": ""}, {"more": 1}, {"id": " "}):
        with pytest.raises(ValidationError):
            Seed.model_validate(seed.model_dump() | bad)
    with pytest.raises(ValidationError, match="frozen"):
        seed.text = "x"  # type: ignore[misc]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=30),
    second=st.lists(st.sampled_from("fghijklmno"), min_size=1, max_size=30),
    count=st.integers(1, 12),
    weight=st.sampled_from([0.5, 1, 3]),
    shuffle=st.randoms(),
)
def test_order_is_of_no_account_and_nothing_comes_twice(tmp_path, first, second, count, weight, shuffle):
    a, b = own(tmp_path / "a.txt", first), own(tmp_path / "b.txt", second, weight)

    def run(sources):
        try:
            return sample(sources, count, seed=1, show=False)
        except InputError as error:
            return str(error)

    result = run([a, b])
    shuffle.shuffle(first)
    shuffle.shuffle(second)
    own(a.path, first), own(b.path, second)
    assert run([b, a]) == result
    if isinstance(result, str):
        assert len(set(first)) < count or len(set(second) - set(first)) < count
        if enough := re.search(r"--count (\d+)", result):
            assert len(sample([a, b], int(enough[1]), seed=1, show=False)[0]) == int(enough[1]) < count
        return
    seeds, tallies = result
    texts = [seed.text for seed in seeds]
    assert len(texts) == len(set(texts)) == len({seed.id for seed in seeds}) == count
    assert [tally.read for tally in tallies] == [len(first), len(second)]
    assert abs(tallies[1].written - count * weight / (1 + weight)) < 1
    assert sum(tally.written for tally in tallies) == count
    assert set(texts) <= set(first) | set(second)


def test_another_seed_is_another_sample_and_a_larger_one_holds_the_smaller(tmp_path):
    source = own(tmp_path / "a.txt", numbers(0, 1000))
    one, other = ([s.text for s in sample([source], 50, seed=k, show=False)[0]] for k in (0, 1))
    assert len(set(one) & set(other)) < 15  # 2.5 by chance
    assert [s.text for s in sample([source], 80, seed=0, show=False)[0]][:50] == one


def test_every_text_has_the_same_chance_however_often_it_comes(tmp_path):
    source = own(tmp_path / "a.txt", numbers(0, 10) + ["text 3"] * 90)
    counts = Counter(s.text for k in range(600) for s in sample([source], 3, seed=k, show=False)[0])
    assert len(counts) == 10
    # 180 each; the standard deviation is 11.2
    assert all(130 <= times <= 230 for times in counts.values()), counts


def test_duplicates_are_dropped_and_counted(tmp_path):
    a = own(tmp_path / "a.txt", ["x", " x ", "x\t", "y  z", "y z", "", "w"])
    (tally,) = sample([a], 3, show=False)[1]
    assert (tally.read, tally.empty, tally.duplicates, tally.written) == (6, 1, 3, 3)
    b = own(tmp_path / "b.txt", ["x", "w", "y z", "new"], weight=1 / 3)
    seeds, tallies = sample([b, a], 4, show=False)
    assert sorted(seed.text for seed in seeds) == ["new", "w", "x", "y z"]
    assert [tally.written for tally in tallies] == [3, 1]
    assert 0 <= tallies[1].duplicates <= 3  # those that came before "new"


def test_text_that_no_file_can_hold(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a \ud800 b"}))
    (seed,) = sample([SeedSource("jsonl", tmp_path / "a.jsonl")], 1, show=False)[0]
    write_seeds(tmp_path / "out", [seed])
    assert Seed.model_validate_json((tmp_path / "out").read_text()) == seed
    assert seed.text == "a ? b"


def test_without_a_count_every_text_is_there_once_in_the_order_of_the_sample(tmp_path):
    a = own(tmp_path / "a.txt", [*numbers(0, 300), "text 7"])
    b = own(tmp_path / "b.txt", numbers(200, 400))
    seeds, tallies = sample([b, a], seed=3, show=False)
    assert sorted(s.text for s in seeds) == sorted(numbers(0, 400))
    assert [(t.read, t.duplicates, t.written) for t in tallies] == [(301, 1, 300), (200, 100, 100)]
    alone = sample([a], seed=3, show=False)[0]
    assert alone[:50] == sample([a], 50, seed=3, show=False)[0]
    assert [s for s in seeds if s in alone] == alone  # mixed, not one source behind the other
    assert [s.text in numbers(300, 400) for s in seeds[:100]].count(True) in range(10, 41)  # 25; deviation 3.8


def test_shares_need_a_number_to_be_shares_of(tmp_path):
    a, b = own(tmp_path / "a.txt", ["x"]), own(tmp_path / "b.txt", ["y"], 2)
    with pytest.raises(UsageError, match=r"b\.txt: found the weight 2 and no count; .* Give --count, or leave"):
        sample([a, b], show=False)
    assert len(sample([a, SeedSource.parse(f"text={b.path}:1")], show=False)[0]) == 2


@pytest.mark.parametrize(
    ("weights", "count", "expected"),
    [([1, 1], 10, [5, 5]), ([2, 1], 100, [67, 33]), ([1, 1, 1], 2, [1, 1, 0]), ([1e-9, 1], 10, [0, 10])],
)
def test_weights_are_shares(tmp_path, weights, count, expected):
    sources = [own(tmp_path / f"{n}.txt", numbers(200 * n, 200 * n + 200), w) for n, w in enumerate(weights)]
    assert [tally.written for tally in sample(sources, count, show=False)[1]] == expected


def test_more_than_there_are_says_how_many_there_can_be(tmp_path):
    a, b = own(tmp_path / "a.txt", numbers(0, 100)), own(tmp_path / "b.txt", numbers(95, 110), 2)
    with pytest.raises(InputError, match=r"b\.txt: found 1\d .* expected 80, its share of 120 seeds") as error:
        sample([a, b], 120, show=False)
    enough = int(str(error.value).rpartition("--count ")[2].split()[0])
    assert 15 <= enough <= 22
    assert len(sample([a, b], enough, show=False)[0]) == enough


def test_memory_is_that_of_the_sample(tmp_path):
    source = own(tmp_path / "a.txt", [f"{n} " + "word " * 20 for n in range(30_000)])
    tracemalloc.start()
    seeds, _ = sample([source], 100, show=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(seeds) == 100
    assert peak < 500_000 < source.path.stat().st_size / 5


def test_sources_as_they_are_written():
    assert SeedSource.parse("webvid=a.csv:2") == SeedSource("webvid", Path("a.csv"), 2)
    assert SeedSource.parse("text=a:b/c=d.txt") == SeedSource("text", Path("a:b/c=d.txt"), 1)
    assert SeedSource.parse("text=a:1:0.5") == SeedSource("text", Path("a:1"), 0.5)
    assert SeedSource.parse("a.csv", "webvid") == SeedSource("webvid", Path("a.csv"))
    assert SeedSource.parse("a.csv:3", "csv") == SeedSource("csv", Path("a.csv"), 3)
    assert SeedSource.parse("text=a.csv", "csv") == SeedSource("text", Path("a.csv"))
    assert SeedSource.parse("./a=b/c.txt", "text") == SeedSource("text", Path("a=b/c.txt"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("a.csv", "found no kind; expected kind=path .* webvid=train.csv:2, or --kind .* --kind webvid train.csv"),
        ("text=", "found no path; expected kind=path"),
        ("own=a.txt", "unknown kind of source 'own'"),
        ("webvit=a.csv", "did you mean 'webvid'"),
        ("text=a.txt:0", "found the weight 0; expected a number above 0"),
        ("text=a.txt:-1", "found the weight -1"),
        ("text=a.txt:nan", "found the weight nan"),
        ("text=a.txt:inf", "found the weight inf"),
        ("text=a.txt:two", "found the weight 'two'"),
    ],
)
def test_sources_that_are_none(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("x")
    with pytest.raises(UsageError, match=message):
        SeedSource.parse(spec)


def test_a_kind_for_all_that_nobody_knows():
    with pytest.raises(UsageError, match="unknown kind of source 'jsnl'; did you mean 'jsonl'"):
        SeedSource.parse("a", "jsnl")


def test_the_command_says_what_became_of_the_texts(topa, tmp_path):
    a = own(tmp_path / "a.txt", ["x", "x", "", "y"])
    (tmp_path / "b.csv").write_text("title\nu\nv\n")
    out = tmp_path / "new" / "seeds.jsonl"
    words = ["seeds", f"text={a.path}", f"csv={tmp_path / 'b.csv'}:1", "--column", "title", "--count", 4, "--out", out]
    result = topa(*words)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"csv={tmp_path / 'b.csv'}: 2 read, 2 written (0 duplicates of drawn texts dropped)",
        f"text={a.path}: 3 read, 1 without a text, 2 written (1 duplicates of drawn texts dropped)",
        f"seeds: {out} (4 written)",
        f"next:  topa generate --seeds {out} --base-url URL --model NAME --out tideos",
    ]
    first = out.read_bytes()
    assert sorted(Seed.model_validate_json(line).text for line in first.splitlines()) == ["u", "v", "x", "y"]
    output = json.loads(topa(*words, "--json").out)
    assert (output["written"], [s["read"] for s in output["sources"]]) == (4, [2, 3])
    assert out.read_bytes() == first
    # All there are, in the same order; and with the kind of those without one in an option.
    plain = ["seeds", "--kind", "text", a.path, f"csv={tmp_path / 'b.csv'}", "--column", "title", "--out", out]
    output = json.loads(topa(*plain, "--json").out)
    assert (output["written"], [s["source"].partition("=")[0] for s in output["sources"]]) == (4, ["csv", "text"])
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.glob("[!.]*")] == ["seeds.jsonl"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["text=gone.txt"], 2, "gone.txt: found nothing there"),
        (["text=empty.txt"], 2, "empty.txt: found an empty file"),
        (["text=blank.txt"], 2, "blank.txt: found no text in it"),
        (["text=a.txt:0"], 2, "found the weight 0"),
        (["text=a.txt", "text=a.txt:2"], 2, "text=a.txt: found twice"),
        (["text=a.txt", "--count", "3"], 2, "found 2 different texts"),
        (["text=a.txt", "--column", "x"], 2, "--column x: found no source of the kind csv"),
        (["csv=a.csv", "--field", "x"], 2, "--field x: found no source of the kind jsonl"),
        (["a.txt"], 2, "source 'a.txt': found no kind; expected kind=path"),
        (["a.txt", "--kind", "own"], 2, "unknown kind 'own'. Known: csv, ego4d, howto100m"),
        (["--kind", "jsonl", "a.txt"], 2, "a.txt, line 1: found malformed JSON"),
        (["text=a.txt", "--out", "a.txt"], 2, "would be written over"),
        (["text=a.txt", "--out", "folder"], 1, "folder: found a folder; expected the name of a file"),
        (["text=a.txt", "--out", "a.txt/seeds"], 1, "can't be written"),
        (["webvid=a.csv"], 2, "a.csv, line 1: found the columns text; expected a column 'name'"),
    ],
)
def test_requests_that_are_refused(topa, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("x\ny\n")
    Path("a.csv").write_text("text\nx\n")
    Path("empty.txt").touch()
    Path("blank.txt").write_text(" \n\n")
    Path("folder").mkdir()
    before = sorted(os.listdir())
    more = [*([] if "--out" in words else ["--out", "seeds.jsonl"]), *([] if "--count" in words else ["--count", "2"])]
    result = topa("seeds", *words, *more)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("topa: ")
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert sorted(os.listdir()) == before
    assert Path("a.txt").read_text() == "x\ny\n"


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_that_is_none(topa, tmp_path, count):
    own(tmp_path / "a.txt", ["x"])
    result = topa("seeds", f"text={tmp_path / 'a.txt'}", "--out", tmp_path / "out", "--count", count)
    assert (result.code, result.out) == (2, "")
    assert "--count" in result.err
    assert not (tmp_path / "out").exists()


def test_weights_without_a_count_are_refused(topa, tmp_path):
    own(tmp_path / "a.txt", ["x"])
    result = topa("seeds", f"text={tmp_path / 'a.txt'}:2", "--out", tmp_path / "out")
    assert (result.code, result.out) == (2, "")
    assert "Give --count" in result.err
    assert not (tmp_path / "out").exists()


def test_seeds_come_back_one_at_a_time(tmp_path):
    written_seeds = [
        Seed.make("text", text) for text in ["a\u2028b", "c", *(f"{n} " + "word" * 800 for n in range(1000))]
    ]
    path = tmp_path / "seeds.jsonl"
    write_seeds(path, written_seeds)
    assert list(read_seeds(path)) == written_seeds
    tracemalloc.start()
    assert sum(1 for _ in read_seeds(path)) == len(written_seeds)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000 < path.stat().st_size / 5


def test_seeds_that_stop_being_seeds(tmp_path):
    """What was before the bad line is given; an id that comes again is for whoever keeps all of them to find."""
    path = tmp_path / "seeds.jsonl"
    good = Seed.make("text", "a").model_dump_json().encode()
    for bad, message in ((b"{", ":3: "), (b'{"id": "1"}', ":3: kind"), (b'"\xff"', "can't be read")):
        path.write_bytes(good + b"\n\n" + bad)
        with pytest.raises(InputError, match=message):
            list(read_seeds(path))
    path.write_bytes((good + b"\r\n") * 2)
    assert next(read_seeds(path)).text == "a"
    assert len(list(read_seeds(path))) == 2
    for gone in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match="can't be read"):
            next(read_seeds(gone))


def test_the_real_wordnet(topa, tmp_path):
    """Debian's wordnet-base, WordNet 3.0: 82,115 noun meanings, 117,798 nouns."""
    if not (WORDNET / "data.noun").is_file():
        pytest.skip(f"{WORDNET}/data.noun is not there: apt-get install wordnet-base, to read the real files")
    out = tmp_path / "seeds.jsonl"
    output = topa("seeds", f"wordnet={WORDNET}/data.noun", "--count", 82_114, "--out", out, "--json")
    assert output.code == 0, output.err
    (tally,) = json.loads(output.out)["sources"]
    assert (tally["read"], tally["empty"], tally["duplicates"]) == (82_115, 0, 1)
    seeds = [Seed.model_validate_json(line) for line in out.read_text().splitlines()]
    assert len({seed.id for seed in seeds}) == 82_114
    assert not [seed for seed in seeds if "_" in seed.text.partition(": ")[0] or ": " not in seed.text]
    dog = "dog: a member of the genus Canis (probably descended from the common wolf) that has been domesticated by man"
    assert [seed.kind for seed in seeds if seed.text.startswith(dog)] == ["wordnet"]
    output = topa("seeds", f"wordnet={WORDNET}/index.noun", "--count", 117_798, "--out", out, "--json")
    assert output.code == 0, output.err
    assert {"hot dog", "physical entity"} <= {json.loads(line)["text"] for line in out.read_text().splitlines()}
