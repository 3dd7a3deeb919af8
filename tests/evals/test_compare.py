"""Two evaluations beside each other: paired numbers, an exact test, and the answers that differ."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals.captioning import CAPTIONS
from topa.evals.compare import McNemar, PairedScores, compare, mcnemar
from topa.evals.compare_tables import _judged
from topa.evals.metrics import accuracy, difference
from topa.evals.predictions import NAME

from . import evaluations


def folder(path: Path, skill: float, *, seed: str = "", number: int = 120, captions: bool = False, **changes) -> Path:
    """An evaluation as `topa evaluate` leaves it."""
    path.mkdir()
    records = evaluations.examples(number)
    kept = {record.id: record for record in records}
    lines = [
        p.model_copy(update={"video": kept[p.id].video, "kind": kept[p.id].kind})
        for p in evaluations.predictions(records, skill, seed, errors=2)
    ]
    if captions:
        changes["task"] = "caption"
        lines = [p.model_copy(update={"correct": None, "choice": None, "answer": None}) for p in lines]
        rng = random.Random(seed)
        scores = {p.id: skill + rng.random() for p in lines}
        (path / CAPTIONS).write_text(json.dumps({"CIDEr-D": scores, "ROUGE-L": scores}))
    (path / NAME).write_text("".join(p.model_dump_json() + "\n" for p in lines))
    (path / "report.json").write_text(evaluations.full(records=records, **changes).model_dump_json())
    return path


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / NAME).read_text().splitlines()]


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    # 2 * P(at most the smaller, of a fair coin): 10 and 2: 2 * (1 + 12 + 66) / 4096.
    [(10, 2, 2 * 79 / 4096), (2, 10, 2 * 79 / 4096), (5, 5, 1.0), (0, 0, 1.0), (6, 0, 2 / 64), (1, 0, 1.0)],
)
def test_mcnemars_exact_test(only_a, only_b, p):
    a = [True] * only_a + [False] * only_b + [True] * 4 + [False] * 3
    b = [False] * only_a + [True] * only_b + [True] * 4 + [False] * 3
    found = mcnemar(a, b)
    assert (found.both, found.only_a, found.only_b, found.neither) == (4, only_a, only_b, 3)
    assert found.p == pytest.approx(p)


def test_mcnemars_test_of_many_records_is_a_number():
    found = mcnemar([True] * 6000 + [False] * 5000, [False] * 6000 + [True] * 5000)
    assert 0 < found.p < 1e-20


def test_the_numbers_are_paired(tmp_path):
    a, b = folder(tmp_path / "a", 0.8), folder(tmp_path / "b", 0.5, seed="b")
    found = compare(a, b, seed=3)
    ours, theirs = rows(a), rows(b)
    one, other = ([row["correct"] for row in side] for side in (ours, theirs))
    videos = [row["video"] for row in ours]
    assert found.overall.a == accuracy(one, videos, seed=3)
    assert found.overall.b == accuracy(other, videos, seed=3)
    assert found.overall.difference == difference(one, other, videos, seed=3)
    assert found.overall.difference.low > 0
    assert found.overall.mcnemar.p < 0.001
    assert found.kinds.keys() == set(evaluations.KINDS)
    assert sum(kind.a.questions for kind in found.kinds.values()) == 120
    table = found.overall.mcnemar
    assert len(found.flips) == table.only_a + table.only_b
    assert [flip.id for flip in found.flips] == [
        x["id"] for x, y in zip(ours, theirs, strict=True) if x["correct"] != y["correct"]
    ]
    flip = next(flip for flip in found.flips if flip.by == "B")
    assert (flip.right, flip.choice_b) == (flip.text_b, flip.answer)


def test_equal_runs_differ_in_nothing(tmp_path):
    found = compare(folder(tmp_path / "a", 0.6), folder(tmp_path / "b", 0.6))
    assert (found.overall.difference.low, found.overall.difference.high, found.overall.mcnemar.p) == (0, 0, 1)
    assert found.flips == ()


def test_captions_are_compared_by_their_cider(tmp_path):
    a = folder(tmp_path / "a", 0.9, captions=True)
    found = compare(a, folder(tmp_path / "b", 0.2, captions=True, seed="b"))
    assert found.metric == "CIDEr-D"
    assert found.overall.mcnemar is None
    assert found.flips == ()
    scores = json.loads((a / CAPTIONS).read_text())["CIDEr-D"]
    assert found.overall.a.value == pytest.approx(sum(scores.values()) / 120)
    assert found.overall.a.value > 1
    assert found.overall.difference.low > 0.4


def test_the_command(tmp_path, topa):
    a, b = folder(tmp_path / "a", 0.8), folder(tmp_path / "b", 0.5, seed="b")
    done = topa("compare", a, b, "--out", tmp_path / "out", "--flips", 3)
    assert done.code == 0, done.err
    assert "McNemar's exact test" in done.out
    assert "A is" in done.out
    assert "answered right by one only, 3 of" in done.out
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told == json.loads(topa("compare", a, b, "--json").out)
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert all(f"| {flip['id']} |" in page for flip in told["flips"])
    assert "<" not in page.replace("<0.0001", "")


def change(path: Path, number: int, **changes) -> None:
    lines = rows(path)
    lines[number] |= changes
    (path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: (b / "report.json").unlink(), "report.json: can't be read"),
        (lambda b: (b / NAME).write_text("{}\n"), "predictions.jsonl:1: id: "),
        (lambda b: change(b, 7, id="another"), "has no answers to 1 records of .*: '0007'"),
        (lambda b: change(b, 7, answer=None), "record '0007': its answer is"),
        (lambda b: change(b, 7, kind="other"), "record '0007': its kind is"),
        (lambda b: change(b, 7, correct=None), "record '0007' is marked in one of both only, not in .*b"),
    ],
    ids=["no report", "no predictions", "records", "answers", "kinds", "marks"],
)
def test_what_does_not_fit_is_said(tmp_path, spoil, message):
    a, b = folder(tmp_path / "a", 0.8), folder(tmp_path / "b", 0.5)
    spoil(b)
    with pytest.raises(InputError, match=message):
        compare(a, b)


def test_other_benchmarks_are_refused(tmp_path, topa):
    a = folder(tmp_path / "a", 0.8)
    for name in ("benchmark", "split"):
        done = topa("compare", a, folder(tmp_path / name, 0.8, **{name: "other"}))
        assert done.code == 2
        assert f"is of the {name} 'toyqa'" in done.err or f"is of the {name} 'val'" in done.err


def test_hidden_answers_cannot_be_compared(tmp_path):
    a, b = folder(tmp_path / "a", 0.8, number=2), folder(tmp_path / "b", 0.8, number=2)
    for path in (a, b):
        for number in (0, 1):
            change(path, number, correct=None, answer=None)
    with pytest.raises(InputError, match="no record could be marked"):
        compare(a, b)


@pytest.mark.parametrize(("p", "word"), [(0.125, "not clear"), (0.01, "better")])
def test_a_few_records_that_differ_make_nobody_better(p, word):
    estimate = {"value": 0.9, "low": 0.8, "high": 1.0, "questions": 40, "groups": 40}
    test = McNemar(both=30, only_a=4, only_b=0, neither=6, p=p)
    gain = {**estimate, "value": 0.1, "low": 0.02, "high": 0.2}
    assert _judged(PairedScores(a=estimate, b=estimate, difference=gain, mcnemar=test)) == word
