"""Open questions and captions: what becomes of the odd records of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals.catalogue import BENCHMARKS
from topa.evals.example import Example

from .published import NEXTQA, ODD, WRITERS, as_csv, as_json, video


def read(name: str, folder: Path) -> list[Example]:
    written = WRITERS[name](folder)
    return list(BENCHMARKS.load(name).read(folder, written.split))


def test_nextqa_open(tmp_path) -> None:
    first, second, hidden = read("nextqa-open", tmp_path)
    assert first.references == ("strum the string", "pluck it")
    assert (second.question, second.references) == (ODD, ("wait, then “go”",))
    assert (hidden.hidden, hidden.kind, hidden.groups) == (True, "DC", (("family", "descriptive"),))
    as_csv(tmp_path / "test.csv", NEXTQA, [[77, 1, 1, 1, "q", 0, 0, "CW", *"abcde"]])
    with pytest.raises(InputError, match=r"test.csv, line 1: found the column a0, of the multi-choice questions"):
        list(BENCHMARKS.load("nextqa-open").read(tmp_path, "test"))


def test_activitynet_qa(tmp_path) -> None:
    first, second, hidden = read("activitynet-qa", tmp_path)
    assert (first.references, first.kind, second.references, second.kind) == (("7",), "number", ("yes",), "yes/no")
    assert first.path == tmp_path / "v_PLqTX6ij52U.mp4"
    assert (hidden.hidden, hidden.path) == (True, tmp_path / "all_test" / "v_x.mkv")
    (tmp_path / "dataset" / "test_a.json").unlink()
    with pytest.raises(InputError, match=r"found none of test_a.json, dataset/test_a.json"):
        list(BENCHMARKS.load("activitynet-qa").read(tmp_path, "test"))


def test_msvd_qa(tmp_path) -> None:
    first, hidden, third = read("msvd-qa", tmp_path)
    assert (first.kind, first.references, hidden.kind, third.kind) == ("who", ("man",), "what", "other")
    assert hidden.hidden
    assert first.path == tmp_path / "YouTubeClips" / "-4wsuPCjDBc_5_15.avi"
    assert third.path == tmp_path / "-7KMZQEsJW4_205_208.avi"
    (tmp_path / "youtube_mapping.txt").unlink()
    video(tmp_path, "videos/vid1451.mp4")
    first, _, third = BENCHMARKS.load("msvd-qa").read(tmp_path, "test")
    assert (first.path, third.path) == (tmp_path / "videos" / "vid1451.mp4", tmp_path / "vid1452.avi")


def test_msrvtt_qa(tmp_path) -> None:
    first, second, hidden = read("msrvtt-qa", tmp_path)
    assert (first.path, hidden.path) == (tmp_path / "TestVideo" / "video7010.mp4", tmp_path / "video7011.mp4")
    assert (second.question, second.kind, second.references) == ('who says "stop, now"', "who", ("guy",))
    assert hidden.hidden


def test_msrvtt_captions(tmp_path) -> None:
    first, second, hidden = read("msrvtt-captions", tmp_path)
    assert first.references == tuple(f"video7010 {k}: {ODD}" for k in range(3))
    assert (first.groups, second.path) == ((("category", "3"),), tmp_path / "TestVideo" / "video7012.mp4")
    assert hidden.hidden


@pytest.mark.parametrize(("split", "ids"), [("test", ["video3"]), ("val", ["video1"]), ("train", ["video0", "video2"])])
def test_msrvtt_in_one_file_gives_the_split(tmp_path, split, ids) -> None:
    splits = ("train", "validate", "train", "test")
    videos = [{"video_id": f"video{n}", "split": name} for n, name in enumerate(splits)]
    sentences = [{"video_id": f"video{n}", "caption": "x"} for n in range(4)]
    as_json(tmp_path / "MSRVTT_data.json", {"videos": videos, "sentences": sentences})
    found = list(BENCHMARKS.load("msrvtt-captions").read(tmp_path, split))
    assert [example.id for example in found] == ids
    assert all(example.references == ("x",) for example in found)


def test_vatex_captions(tmp_path) -> None:
    first, _, hidden = read("vatex-captions", tmp_path)
    assert (first.id, first.references) == ("-_aaMGK6GGw_000057_000067", (ODD, "A man, walking."))
    assert hidden.hidden
