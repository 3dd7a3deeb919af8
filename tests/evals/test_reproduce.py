"""`topa reproduce`: rows beside what a source states, and what is said where something isn't at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topa.core.errors import InputError, UsageError
from topa.evals.catalogue import BENCHMARKS
from topa.evals.datasets.mvbench import TASKS
from topa.evals.recipe import MICRO, RecipeRow, read_recipe, recipes
from topa.evals.report import EvaluationReport
from topa.evals.reproduce import read_off
from topa.evals.summary import ABOUT
from topa.training.config import read_recipe as read_training
from topa.training.finetune_config import finetune_recipes

RECIPE = """
title = "A test"

[data]
own = "clips"

[models.few-questions]
align = {{ recipe = "microworld", settings = ["microworld_tideos=60", "epochs=1", "validation=0", "memory_rows=60"] }}
[models.tuned]
finetune = {{ model = "few-questions", data = 6, recipe = "microworld", bridge = "projected", settings = {small} }}

[[row]]
table = "Answers"
name = "all"
model = "{model}"
benchmark = "own"
expected = 50.0
tolerance = 50.0
[[row]]
table = "Answers"
name = "chance"
model = "{model}"
benchmark = "own"
condition = "chance"
expected = 25.0
[[row]]
table = "Answers"
name = "blind"
model = "{model}"
benchmark = "own"
condition = "blind"
[[row]]
table = "Answers"
name = "made for it"
model = "tuned"
benchmark = "own"
[[row]]
table = "Answers"
name = "colours"
model = "{model}"
benchmark = "own"
part = "type: colour"
[[row]]
table = "Elsewhere"
name = "no data"
model = "{model}"
benchmark = "nextqa"
expected = 12.5
[[row]]
table = "Elsewhere"
name = "no model"
model = "nobody"
benchmark = "own"
[[row]]
table = "Elsewhere"
name = "no such number"
model = "{model}"
benchmark = "own"
score = "CIDEr-D"
"""


@pytest.fixture
def recipe(micro_model, tmp_path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(model=micro_model.name, small=["epochs=1", "held_out=0", "batch_size=8"]))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    from topa.microworld.writer import make_videos

    folder = tmp_path_factory.mktemp("data")
    make_videos(folder / "clips", 6, 12, questions=3, show=False)
    return folder


def test_a_recipe_of_ones_own(topa, recipe, data, micro_model, tmp_path):
    words = ["--data", data, "--models", micro_model.parent, "--out", tmp_path / "out"]
    done = topa("reproduce", recipe, *words)
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "out" / "reproduced.json").read_text())["rows"]
    rows = {one["row"]["name"]: one for one in told}
    assert [one["row"]["name"] for one in told] == [row.name for row in read_recipe(str(recipe)).row]
    verdicts = {name: one["verdict"] for name, one in rows.items()}
    assert verdicts == {
        "all": "within",
        "chance": "below",
        "blind": "not stated",
        "made for it": "not stated",
        "colours": "not stated",
        "no data": "no data",
        "no model": "no model",
        "no such number": "not computed",
    }
    assert rows["chance"]["ours"] == pytest.approx(20)
    assert rows["all"]["low"] <= rows["all"]["ours"] <= rows["all"]["high"]
    # Rows about one run share it.
    reports = list((tmp_path / "out").glob("own-*/report.json"))
    assert len(reports) == 2
    assert rows["all"]["out"] == rows["blind"]["out"] == rows["colours"]["out"] != rows["made for it"]["out"]
    report = EvaluationReport.model_validate_json((Path(rows["all"]["out"]) / "report.json").read_bytes())
    assert rows["all"]["ours"] == pytest.approx(100 * report.scores[0].estimate.value)
    table = (tmp_path / "out" / "reproduced.md").read_text()
    assert "| chance | 25 ± 1 | 20.0 | 20.0–20.0 | below |" in table
    assert "| no data | 12.5 ± 1 | – | – | no data |" in table
    assert "no data" in done.out
    assert f"{data / 'nextqa'} isn't there" in done.out
    again = topa("reproduce", recipe, *words, "--table", "Answers", "--json")
    assert [one["ours"] for one in json.loads(again.out)] == [one["ours"] for one in told[:5]]
    assert "answering" not in again.err


def test_where_nothing_is_at_hand_every_row_of_the_paper_says_so(topa, tmp_path):
    done = topa("reproduce", "paper", "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found) == len(read_recipe("paper").row) > 60
    assert {one["verdict"] for one in found} == {"no data"}
    expected = {(one["row"]["table"], one["row"]["name"]): one["row"]["expected"] for one in found}
    assert expected["EgoSchema, full set, zero-shot", "Llama2-13B"] == 51.0
    assert expected["MVBench, zero-shot, Llama2-7B", "all 4,000"] == 39.8


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_where_every_row_failed_so_did_the_run(topa, micro_model, tmp_path, more):
    """What they are made of can't be read; the table is there all the same."""
    (tmp_path / "data" / "own").mkdir(parents=True)
    (tmp_path / "data" / "own" / "questions.jsonl").write_text("no question\n")
    rows = [f'[[row]]\ntable = "A"\nname = "{name}"\nmodel = "m"\nbenchmark = "own"\n' for name in "ab"]
    (tmp_path / "own.toml").write_text("\n".join(['title = "T"', f'[models.m]\npath = "{micro_model.name}"', *rows]))
    places = ("--data", tmp_path / "data", "--models", micro_model.parent, "--out", tmp_path / "out")
    done = topa("reproduce", tmp_path / "own.toml", *places, *more)
    assert done.code == 1, done.err
    assert "reproduce: all 2 rows failed; the commonest reason, of all of them (such as a): " in done.err
    assert (tmp_path / "out" / "reproduced.md").is_file()


def test_recipes_name_what_there_is():
    assert recipes() == ["microworld", "paper"]
    for name in recipes():
        recipe = read_recipe(name)
        for row in recipe.row:
            benchmark = BENCHMARKS.load(row.benchmark)
            assert row.split is None or row.split in benchmark.splits
            assert row.condition in ABOUT
            assert row.model == MICRO or row.model in recipe.models or name == "paper"
            if row.benchmark == "mvbench" and row.part:
                assert row.part.removeprefix("type: ") in TASKS
        for model in recipe.models.values():
            if model.align:
                read_training(model.align.recipe, model.align.settings)
            if model.finetune:
                assert model.finetune.recipe in finetune_recipes()
    tables = {row.table for row in read_recipe("paper").row}
    for word in (
        "EgoSchema",
        "MVBench",
        "MSR-VTT",
        "VATEX",
        "NExT-QA",
        "STAR",
        "TVQA",
        "Frames",
        "Protocols",
        "Fine-tuning",
    ):
        assert any(word in table for table in tables), word


def test_what_is_refused(topa, tmp_path):
    done = topa("reproduce", "papr", "--out", tmp_path)
    assert (done.code, "did you mean 'paper'" in done.err) == (2, True)
    done = topa("reproduce", "paper", "--out", tmp_path, "--table", "MVBench")
    assert (done.code, "expected one of" in done.err) == (2, True)
    bad = tmp_path / "bad.toml"
    for text, told in (
        ("title = 1", "title"),
        ("title = 'a'\nrow = []", "row"),
        ("title = 'a'\n[[table]]\nname = 'b'", "rows"),
        ("title = 'a'\n[[table]]\nname = 'b'\nrows = [{ name = 'c', colour = 1 }]", "row.0.model"),
        ("a [", "can't be read"),
        ("x = 1", "x"),
    ):
        bad.write_text(text)
        with pytest.raises(InputError, match=told):
            read_recipe(str(bad))
    with pytest.raises(UsageError, match="Known: microworld, paper"):
        read_recipe("nothing-like-it")


def test_a_table_says_once_what_its_rows_share(tmp_path):
    path = tmp_path / "tables.toml"
    path.write_text("""
title = "T"
[[table]]
name = "first"
defaults = { model = "m", benchmark = "own", tolerance = 2.0 }
rows = [{ name = "a" }, { name = "b", tolerance = 0.5, expected = 3.0 }]
[[row]]
table = "second"
name = "c"
model = "n"
benchmark = "own"
""")
    shared = {"model": "m", "benchmark": "own"}
    assert read_recipe(str(path)).row == (
        RecipeRow(table="second", name="c", model="n", benchmark="own"),
        RecipeRow(table="first", name="a", tolerance=2.0, **shared),
        RecipeRow(table="first", name="b", tolerance=0.5, expected=3.0, **shared),
    )


def test_a_number_that_a_report_lacks(tmp_path):
    row = RecipeRow(table="t", name="n", model="m", benchmark="own", condition="no_projection")
    told = {
        "title": "t", "benchmark": "own", "split": "s", "task": "choice", "protocol": "logits", "command": "c",
        "created": "2026-01-01", "counts": {"published": 1},
        "scores": [{"name": "accuracy", "estimate": None, "note": "hidden"}],
    }  # fmt: skip
    report = EvaluationReport.model_validate(told)
    with pytest.raises(InputError, match="no condition 'no_projection'"):
        read_off(row, report)
    with pytest.raises(InputError, match="was not computed: hidden"):
        read_off(row.model_copy(update={"condition": "model"}), report)
    with pytest.raises(InputError, match="has no 'type: x'"):
        read_off(row.model_copy(update={"part": "type: x"}), report)
