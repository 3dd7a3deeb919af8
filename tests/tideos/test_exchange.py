"""The verbs that bring Tideos in and out, on files as they are published."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
import torch

from topa.core.embedded import PAPER_ENCODER
from topa.features.store import FeatureStore
from topa.memory.bank import MemoryBank
from topa.tideos.jsonl import read_jsonl


@pytest.fixture
def published(tmp_path):
    """Three records, one without an answer's letter and one without features."""
    records, folder = [], tmp_path / "features"
    folder.mkdir()
    for idx in ("a", 7, "bare"):
        asked = {"question": "what ?", "options": ["x", "y"], "answer": "B" if idx != 7 else "Z"}
        frames = [{"caption": f"{idx} one", "object": "x"}, {"caption": f"{idx} two"}]
        records.append({"idx": idx, "frames": frames, "QAs": [asked], "global_video_caption": "d"})
        if idx != "bare":
            (folder / f"{idx}.pkl").write_bytes(pickle.dumps(torch.randn(3, 768)))
    (tmp_path / "textvid.json").write_text(json.dumps(records))
    return tmp_path


def test_import_says_what_is_left_out(topa, published):
    done = topa("import", "textvid", published / "textvid.json", "--out", published / "out")
    assert done.code == 0
    assert "(3 Tideos)" in done.out
    assert done.err == "left out: 1: question: the answer is no letter of an option (such as 7)\n"
    assert [t.id for t in read_jsonl(published / "out" / "tideos.jsonl")] == ["a", "7", "bare"]
    assert not (published / "out" / "features").exists()


def test_import_with_features_keeps_what_has_them(topa, published):
    words = ("import", "textvid", published / "textvid.json", published / "features", "--out", published / "out")
    told = json.loads(topa(*words, "--json").out)
    assert told["tideos"] == 2
    assert told["left_out"]["features: missing"] == {"count": 1, "examples": ["bare"]}
    assert json.loads((published / "out" / "left-out.json").read_text()) == told["left_out"]
    store = FeatureStore.open(published / "out" / "features").expect(PAPER_ENCODER, "text")
    assert list(store) == [t.id for t in read_jsonl(published / "out" / "tideos.jsonl")] == ["a", "7"]
    assert store.manifest.config["left_out"] == 1


def test_nothing_usable_is_an_error(topa, published):
    (published / "textvid.json").write_text('[{"idx": 1}]')
    done = topa("import", "textvid", published / "textvid.json", "--out", published / "out")
    assert done.code == 2
    assert "no global_video_caption (such as 1)" in done.err
    assert not (published / "out" / "tideos.jsonl").exists()


def test_the_published_memory(topa, tmp_path):
    rows = torch.randn(5, 768) * 9
    (tmp_path / "memory.pkl").write_bytes(pickle.dumps(rows))
    done = topa("import", "memory", tmp_path / "memory.pkl", "--out", tmp_path / "memory")
    assert (done.code, "(5 rows)" in done.out) == (0, True)
    bank = MemoryBank.load(tmp_path / "memory")
    assert torch.allclose(bank.values.float(), torch.nn.functional.normalize(rows, dim=-1), atol=1e-3)
    assert (bank.captions, bank.encoder) == (None, PAPER_ENCODER)


@pytest.mark.parametrize("form", ["jsonl", "parquet", "textvid"])
def test_export(topa, published, form):
    topa("import", "textvid", published / "textvid.json", "--out", published / "out")
    source, target = published / "out" / "tideos.jsonl", published / "new" / "file"
    done = topa("export", source, "--format", form, "--out", target)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"exported: {target} (3 Tideos)\n"
    if form == "jsonl":
        assert target.read_bytes() == source.read_bytes()
    if form == "textvid":
        topa("import", "textvid", target, "--out", published / "again")
        assert (published / "again" / "tideos.jsonl").read_bytes() == source.read_bytes()


def test_an_unknown_form(topa, published):
    done = topa("export", published / "textvid.json", "--format", "parket", "--out", published / "x")
    assert (done.code, "did you mean 'parquet'" in done.err) == (2, True)


def test_text_alone_needs_no_torch(published):
    code = (
        "import sys, topa.cli; from topa.features.import_textvid import import_textvid; from pathlib import Path\n"
        "from topa.features.verbs import ImportTextVidConfig\n"
        "import_textvid(ImportTextVidConfig(path=Path(sys.argv[1]), out=Path(sys.argv[2])))\n"
        "assert 'torch' not in sys.modules"
    )
    words = [sys.executable, "-c", code, published / "textvid.json", published / "out"]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_clean(topa, published):
    source = published / "all.jsonl"
    topa("import", "textvid", published / "textvid.json", "--out", published / "out")
    one = (published / "out" / "tideos.jsonl").read_text().splitlines()[0]
    one = one.replace('"description":"d"', '"description":"d e f"')
    source.write_text(one + "\n" + one.replace('"id":"a"', '"id":"b"') + "\n")
    done = topa("clean", source, "--out", published / "clean")
    assert (done.code, done.err) == (0, "left out: 1: exact duplicate (such as b)\n")
    assert "1 of 2 Tideos" in done.out
    assert [t.id for t in read_jsonl(published / "clean" / "tideos.jsonl")] == ["a"]
    told = json.loads(topa("clean", source, "--out", published / "clean", "--json").out)
    assert told == json.loads((published / "clean" / "quality.json").read_text())
    source.write_text(one.replace("d e f", "d") + "\n")
    done = topa("clean", source, "--out", published / "none")
    assert done.code == 1
    (published / "empty.jsonl").touch()
    empty = topa("clean", published / "empty.jsonl", "--out", published / "none")
    assert (empty.code, "found no" in empty.err) == (2, True), empty.err
    assert "none of 1 Tideos is kept; the commonest reason, of 1 of them: " in done.err
