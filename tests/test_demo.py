"""The demo end to end at its quickest: every number it promises, and the same numbers the next time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from topa.core import stages
from topa.core.errors import OutputError
from topa.demo import ABLATIONS, Scale, run
from topa.evals.compare import compare
from topa.evals.records import MICRO_SEED
from topa.evals.report import Condition, EvaluationReport
from topa.evals.summary import ABOUT
from topa.microworld.questions import KINDS_OF_QUESTION, TIME_KINDS

DEFAULT = (
    "model",
    "chance",
    "longest",
    "blind",
    "shuffled_frames",
    "no_projection",
    "text",
)
SMALL = Scale(videos=2, settings=("microworld_tideos=30", "epochs=1", "memory_rows=60"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EvaluationReport]:
    out = tmp_path_factory.mktemp("demo") / "out"
    report, page = run(out, scale=Scale.quick(), show=False)
    assert page == out / "report.html"
    return out, report


def by_name(report: EvaluationReport) -> dict[str, Condition]:
    return {condition.name: condition for condition in report.conditions}


def test_the_report_is_what_was_written(made):
    out, report = made
    assert EvaluationReport.model_validate_json((out / "report.json").read_bytes()) == report
    page = (out / "report.html").read_text()
    assert all(name in page or name.replace("_", " ") in page for name in DEFAULT)


def test_every_condition_is_measured_on_every_question(made):
    _, report = made
    found = by_name(report)
    assert tuple(found) == DEFAULT
    questions = sum(e.questions for e in found["model"].kinds.values())
    assert questions > 50
    for condition in found.values():
        assert condition.about == ABOUT[condition.name]
        assert condition.accuracy.questions == questions
        assert condition.accuracy.groups == 12
        assert set(condition.kinds) == set(found["chance"].kinds) <= set(KINDS_OF_QUESTION)
        assert sum(e.questions for e in condition.kinds.values()) == questions
        total = sum(e.value * e.questions for e in condition.kinds.values())
        assert condition.accuracy.value == pytest.approx(total / questions)
        for estimate in (condition.accuracy, *condition.kinds.values()):
            bounds = [round(b, 9) for b in (0, estimate.low, estimate.value, estimate.high, 1)]
            assert bounds == sorted(bounds)
    assert found["chance"].accuracy.value == pytest.approx(0.2)


def test_what_the_frames_say_is_used(made):
    found = by_name(made[1])
    assert found["model"].accuracy.value >= found["blind"].accuracy.value + 0.1


def test_differences_are_between_the_conditions(made):
    _, report = made
    found = by_name(report)
    for difference in report.differences:
        first, _, second = difference.name.partition(" - ")
        assert first == "model"
        assert second in DEFAULT[1:]
        assert difference.estimate.low <= difference.estimate.value <= difference.estimate.high
        if difference.kinds is None:
            expected = found[first].accuracy.value - found[second].accuracy.value
        else:
            assert difference.kinds == TIME_KINDS
            number = {k: found[first].kinds[k].questions for k in TIME_KINDS if k in found[first].kinds}
            gain = [n * (found[first].kinds[k].value - found[second].kinds[k].value) for k, n in number.items()]
            expected = sum(gain) / sum(number.values())
        assert difference.estimate.value == pytest.approx(expected)
    names = {(d.name, d.kinds) for d in report.differences}
    assert {(f"model - {name}", None) for name in DEFAULT[1:]} <= names
    assert {("model - shuffled_frames", TIME_KINDS), ("model - blind", TIME_KINDS)} <= names


def test_samples_show_frames_and_what_they_were_read_as(made):
    out, report = made
    kinds = {s.kind for s in report.samples}
    assert kinds == set(by_name(report)["model"].kinds)
    captions = {f["caption"] for line in (out / "tideos.jsonl").open() for f in json.loads(line)["frames"]}
    for sample in report.samples:
        assert sample.file == sample.video
        assert (out / sample.file).is_file()
        assert sample.description
        assert len(sample.frames) == 5
        assert sum(sample.probabilities) == pytest.approx(1, abs=1e-4)
        assert sample.probabilities[sample.choice] == max(sample.probabilities)
        for frame in sample.frames:
            assert frame.image.startswith("data:image/jpeg;base64,")
            assert frame.captions
            assert set(frame.captions) <= captions
            assert list(frame.weights) == sorted(frame.weights, reverse=True)


def test_the_time_left_is_told_and_comes_to_nothing(tmp_path, monkeypatch, capfd):
    """Before anything is measured, and after the last stage; without a second of calibration."""
    monkeypatch.setattr(stages, "seconds_per_pass", lambda: 100.0)
    for number, scale in enumerate((SMALL, replace(SMALL, seeds=2, trained_baselines=True))):
        report, _ = run(tmp_path / str(number), scale=scale, show=False)
        assert all(stage.seconds > 0 for stage in report.stages)
    lines = capfd.readouterr().err.splitlines()
    assert any("expect about" in line and "hours" in line for line in lines)
    assert any(line.startswith("write Tideos") and line.endswith("left") for line in lines)
    ends = [line for line in lines if line.startswith("answer questions about them, model-0")]
    assert len(ends) == 2
    assert not any(line.endswith("left") for line in ends)
    assert all(line.endswith("left") for line in lines if line.startswith("render"))


def test_right_and_wrong_answers_are_shown_and_counted(made):
    out, report = made
    verdicts = [sample.verdict for sample in report.samples]
    assert min(verdicts.count("right"), verdicts.count("wrong")) >= 10
    assert all((s.choice == s.answer) == (s.verdict == "right") for s in report.samples)
    page = (out / "report.html").read_text()
    assert page.count("✗ chosen, wrong") == verdicts.count("wrong")
    assert page.count("<video ") == len(report.samples)
    predictions = [json.loads(line) for line in (out / "predictions.jsonl").open()]
    assert by_name(report)["model"].accuracy.value == sum(p["correct"] for p in predictions) / len(predictions)


def test_samples_are_questions_of_the_file(made):
    out, report = made
    asked = {row["id"]: row for row in map(json.loads, (out / "questions.jsonl").open())}
    for sample in report.samples:
        row = asked[sample.id]
        assert (row["video"], row["question"]) == (sample.video, sample.question)
        assert (tuple(row["options"]), row["answer"], row["kind"]) == (sample.options, sample.answer, sample.kind)


def test_its_folder_is_that_of_an_evaluation(made):
    out, report = made
    found = compare(out, out)
    assert (found.benchmark, found.overall.difference.value) == ("microworld", 0)
    assert found.overall.a.value == by_name(report)["model"].accuracy.value


def test_stages_seeds_and_command_are_told(made):
    out, report = made
    assert report.command == f"topa demo --out {out.name} --seed 0 --quick"
    assert report.seeds == {"data": 0, "alignments": 1, "videos": MICRO_SEED}
    assert len(report.stages) == 5
    assert all(stage.peak_mb > 1 for stage in report.stages)
    assert report.parameters["trainable"] > 0
    assert report.parameters["trainable on Llama-2 7B, the paper's setting"] == 9_742_336


def test_the_model_it_leaves_can_be_asked(made):
    from topa import load

    out, report = made
    sample = report.samples[0]
    answer = load(out / "model-0").ask(out / sample.video, sample.question, sample.options)
    assert answer.choice == sample.choice
    assert answer.probabilities == pytest.approx(sample.probabilities, abs=1e-4)


def test_the_same_command_gives_the_same_numbers(made, tmp_path):
    """In another folder from nothing, and in the same one from what is there."""
    out, report = made
    for folder in (tmp_path / "elsewhere", out):
        again, _ = run(folder, scale=Scale.quick(), show=False)
        assert again.conditions == report.conditions
        assert again.differences == report.differences
        assert again.samples == report.samples


def marked(out: Path) -> list[Path]:
    marks = [out / name / "mark" for name in ("features", "model-0", "videos", "video-features", "baselines")]
    for mark in marks:
        mark.touch()
    return marks


def test_other_settings_begin_anew_and_the_same_ones_go_on(tmp_path):
    first, _ = run(tmp_path, scale=SMALL, show=False)
    (tmp_path / "notes.txt").write_text("mine")
    marks = marked(tmp_path)
    again, _ = run(tmp_path, scale=SMALL, show=False)
    assert all(mark.exists() for mark in marks)
    assert again.conditions == first.conditions
    with pytest.raises(OutputError, match=r"mark: found a file that isn't topa's"):
        run(tmp_path, seed=1, scale=SMALL, show=False)
    assert all(mark.exists() for mark in marks)
    assert (tmp_path / "report.html").exists()
    for mark in marks:
        mark.unlink()
    other, _ = run(tmp_path, seed=1, scale=SMALL, show=False)
    assert not (tmp_path / "model-0").exists()
    assert (tmp_path / "model-1").is_dir()
    assert other.samples != first.samples
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "demo.json").read_text())["config"]["seed"] == 1


def test_the_full_demo_trains_its_baselines_over_the_seeds(tmp_path):
    scale = Scale(videos=2, settings=SMALL.settings, seeds=2, trained_baselines=True, ablations=ABLATIONS)
    report, _ = run(tmp_path, scale=scale, show=False)
    assert set(by_name(report)) == set(ABOUT)
    questions = by_name(report)["model"].accuracy.questions
    for condition in report.conditions:
        assert condition.accuracy.questions == questions
    assert any("2 models" in note for note in report.notes)
    models = {path.name for path in tmp_path.glob("model-*")}
    kinds = ("", "blind_trained-", "noise_trained-", "video_trained-")
    assert models == {f"model-{kind}{seed}" for kind in kinds for seed in (0, 1)}
    settings = {name: json.loads((tmp_path / name / "run.json").read_text())["settings"] for name in models}
    assert {name for name, own in settings.items() if own["noise"]} == {f"model-noise_trained-{s}" for s in (0, 1)}
    assert settings["model-1"]["seed"] == 1
    assert report.seeds["alignments"] == 2


def test_the_scales_are_what_the_flags_say():
    assert Scale.full().trained_baselines
    assert Scale.full().seeds == 3
    assert Scale().seeds == 1
    assert not Scale().trained_baselines
    assert Scale.quick().videos < Scale().videos


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        run(tmp_path / "file" / "below", scale=SMALL, show=False)
