"""The numbers of an evaluation against counts by hand, on odd benchmarks too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals.example import Example
from topa.evals.metrics import IntervalEstimate, accuracy, macro_accuracy
from topa.evals.predictions import Prediction
from topa.evals.report import Score
from topa.evals.samples import examples_to_show, sample
from topa.evals.summary import averaged, calibration, letters, longest, reason, summarise

from . import evaluations
from .evaluations import benchmark, examples, predictions


def record(name: str, video: str = "v", answer: int | None = 0, options=("a", "bb"), **more) -> Example:
    return Example(id=name, video=video, path=Path(f"/data/{video}.mp4"), options=options, answer=answer, **more)


def answered(example: Example, choice: int | None, **more) -> Prediction:
    correct = None if example.answer is None else float(choice == example.answer)
    return Prediction(id=example.id, choice=choice, answer=example.answer, **{"correct": correct} | more)


def value(found: IntervalEstimate) -> tuple[float, int, int]:
    return found.value, found.questions, found.groups


def test_every_record_is_in_every_number_and_none_twice():
    records = [
        record("1", "v", 0, kind="what"),
        record("2", "v", 1, kind="why", groups=(("duration", "short"),)),
        record("3", "w", 1, kind="why", groups=(("duration", "long"), ("duration", "long"), ("topic", "food"))),
        record("4", "w", 0, ("a", "bb", "cc", "d"), kind="what"),
        record("5", "w", None, kind="what"),
        record("6", "x", None, (), kind="why", fault="the answer is none of the options"),
    ]
    answers = [
        answered(records[0], 0),
        answered(records[1], 0),
        answered(records[2], 1),
        Prediction(id="4", error="/data/w.mp4: no such file"),  # wrong, whether it says so or not
        answered(records[4], 0),
        Prediction(id="6", error="the answer is none of the options", correct=0.0),
    ]
    blind = [answered(r, 0) if r.options else answers[5] for r in records]
    found = summarise(benchmark(), records, answers, {"blind": reversed(blind)}, resamples=50)
    assert found.counts.published == 6
    assert (found.counts.hidden, found.counts.public, found.counts.unanswered) == (1, 5, 2)
    assert found.counts.errors == {"no such file": 1, "the answer is none of the options": 1}
    assert [(s.name, *value(s.estimate)) for s in found.scores] == [
        ("accuracy", 2 / 5, 5, 3),
        ("accuracy, mean over types", pytest.approx((1 / 2 + 1 / 3) / 2), 5, 3),
    ]
    assert {name: {part: value(e) for part, e in parts.items()} for name, parts in found.breakdowns.items()} == {
        "type": {"what": (1 / 2, 2, 2), "why": (pytest.approx(1 / 3), 3, 3)},
        "duration": {"short": (0, 1, 1), "long": (1, 1, 1)},
        "topic": {"food": (1, 1, 1)},
    }
    assert {c.name: c.accuracy.value for c in found.conditions} == {
        "model": pytest.approx(2 / 5),
        "chance": pytest.approx((3 / 2 + 1 / 4) / 5),
        "longest": pytest.approx(2 / 5),
        "blind": pytest.approx(2 / 5),
    }
    assert found.conditions[0].name == "model"
    assert found.conditions[1].kinds["what"].value == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert [d.name for d in found.differences] == ["model - chance", "model - longest", "model - blind"]
    assert found.differences[0].estimate.value == pytest.approx(2 / 5 - 1.75 / 5)
    assert (found.letters.chosen, found.letters.right) == ((2, 1, 0, 0), (2, 2, 0, 0))
    assert found.missing == {"4": "/data/w.mp4: no such file", "6": "the answer is none of the options"}
    assert any("5 of 6" in note for note in found.notes)


def test_intervals_are_those_of_the_metrics():
    records = examples(60, 12)
    answers = predictions(records)
    found = summarise(benchmark(), records, answers, seed=5, resamples=300)
    right = [p.correct for p in answers]
    videos, kinds = [e.video for e in records], [e.kind for e in records]
    assert found.scores[0].estimate == accuracy(right, videos, seed=5, resamples=300)
    assert found.scores[1].estimate == macro_accuracy(right, videos, kinds, seed=5, resamples=300)
    assert found.breakdowns["type"] == found.conditions[0].kinds
    assert summarise(benchmark(macro=False), records, answers).scores[1:] == ()


def test_a_few_right_answers_are_not_certain():
    records = [record(str(k), f"v{k}", kind="rare" if k < 2 else "usual") for k in range(40)]
    answers = [answered(r, 0 if k < 21 else 1) for k, r in enumerate(records)]
    rare = summarise(benchmark(), records, answers).breakdowns["type"]["rare"]
    # Wilson's lower bound of 2 of 2 (tables give 0.342).
    assert (rare.value, rare.low, rare.high) == (1, pytest.approx(0.342, abs=5e-4), 1)
    wrong = summarise(benchmark(), records[25:], answers[25:]).scores[0].estimate
    assert (wrong.value, wrong.low, wrong.high) == (0, 0, pytest.approx(3.8415 / 18.8415, abs=1e-4))


def test_the_mean_over_types_weighs_them_alike():
    right, kinds = [1, 1, 1, 1, 0, 1], ["a", "a", "a", "a", "b", "b"]
    alone = macro_accuracy(right, ["v"] * 6, kinds)
    assert value(alone) == (0.75, 6, 1)
    assert (alone.low, alone.high) == (0, 1)
    several = macro_accuracy(right, ["v", "w", "x", "v", "w", "x"], kinds, resamples=600)
    assert several.low < 0.75 < several.high
    # With one type it is the accuracy, resample for resample.
    videos = [f"v{k % 4}" for k in range(6)]
    assert macro_accuracy(right, videos, ["a"] * 6) == accuracy(right, videos)
    with pytest.raises(InputError, match="the types of 5"):
        macro_accuracy(right, videos, kinds[1:])


def test_a_split_without_public_answers_has_letters_and_no_numbers():
    records = examples(20, answer=None)
    found = summarise(benchmark(), records, predictions(records))
    assert (found.counts.published, found.counts.hidden, found.counts.errors) == (20, 20, {})
    assert [(s.name, s.estimate) for s in found.scores] == [("accuracy", None)]
    assert "public" in found.scores[0].note
    assert (found.breakdowns, found.conditions, found.differences, found.calibration) == ({}, (), (), None)
    assert sum(found.letters.chosen) == 20
    assert sum(found.letters.right) == 0


def test_a_fault_on_a_hidden_split_is_hidden_too():
    records = [record("1", answer=None), record("2", answer=None, options=(), fault="no options")]
    answers = [answered(records[0], 1), Prediction(id="2", error="no options")]
    found = summarise(benchmark(), records, answers)
    assert (found.counts.hidden, found.counts.errors, found.missing) == (2, {}, {"2": "no options"})


def test_when_nothing_was_answered_all_is_wrong():
    records = examples(30)
    found = summarise(benchmark(), records, predictions(records, errors=30), resamples=50)
    assert found.scores[0].estimate.value == 0
    assert found.scores[0].estimate.questions == 30
    assert found.counts.errors == {"no such file": 30}
    assert len(found.missing) == 30
    assert found.calibration is None
    assert sum(found.letters.chosen) == 0
    assert sum(found.letters.right) == 30


def test_one_type_and_one_video():
    records = examples(5, videos=1, kind="all", groups=())
    found = summarise(benchmark(), records, predictions(records))
    assert found.breakdowns == {}
    assert (found.scores[0].estimate.low, found.scores[0].estimate.high) == (0, 1)
    assert any("one video" in note for note in found.notes)


def test_a_part_of_the_split_is_told():
    records, published = examples(10), benchmark(splits={"val": 4996})
    answers = predictions(records)
    assert any("4,996" in note for note in summarise(published, records, answers, split="val", resamples=9).notes)
    exact = benchmark(splits={"val": 10})
    assert not any("published" in note for note in summarise(exact, records, answers, split="val", resamples=9).notes)


def test_open_answers_have_shares_of_credit():
    records = [record(str(k), f"v{k}", None, (), references=("a dog",)) for k in range(4)]
    answers = [Prediction(id=str(k), text="dog", correct=share) for k, share in enumerate((1, 0.5, 0, 0.25))]
    found = summarise(benchmark(task="open", metric="WUPS", macro=False), records, answers, {"blind": answers})
    assert [(s.name, s.estimate.value) for s in found.scores] == [("exact match", 0.4375)]
    assert [c.name for c in found.conditions] == ["model", "blind"]
    assert (found.letters, found.calibration) == (None, None)


def test_captions_have_the_scores_that_are_given():
    records = [record(str(k), f"v{k}", None, (), references=("a dog runs",)) for k in range(3)]
    answers = [*(Prediction(id=str(k), text="a dog") for k in range(2)), Prediction(id="2", error="no such file")]
    cider = Score(name="CIDEr-D", estimate=IntervalEstimate(value=1.2, low=1, high=1.4, questions=3, groups=3))
    task = benchmark(task="caption", metric="CIDEr-D")
    found = summarise(task, records, answers, scores=[cider])
    assert found.scores == (cider,)
    assert (found.counts.public, found.counts.unanswered) == (3, 1)
    assert (found.breakdowns, found.conditions, found.letters, found.calibration) == ({}, (), None, None)
    assert summarise(task, records, answers).scores[0].note == "not computed"


def test_the_longest_option_is_the_first_of_equals():
    assert [longest(o) for o in (("a", "bb", "cc"), ("", ""), ())] == [1, 0, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[1:], "1 of 3 records have none, first '0000'"),
        (lambda a: [*a, a[0]], "'0000' is there twice"),
        (lambda a: [*a, a[0].model_copy(update={"id": "?"})], r"'\?' is of no published record"),
        (lambda a: [a[0].model_copy(update={"answer": (a[0].answer + 1) % 5}), *a[1:]], "of other files"),
        (lambda a: [a[0].model_copy(update={"correct": None}), *a[1:]], "no share of credit"),
    ],
)
def test_predictions_of_something_else_are_refused(change, message):
    records = examples(3)
    answers = predictions(records)
    with pytest.raises(InputError, match=message):
        summarise(benchmark(), records, change(answers), resamples=9)
    with pytest.raises(InputError, match=message):
        summarise(benchmark(), records, answers, {"blind": change(answers)}, resamples=9)


def test_records_of_one_id_and_baselines_of_our_names_are_refused():
    records = examples(3)
    answers = predictions(records)
    with pytest.raises(InputError, match="two have the id '0000'"):
        summarise(benchmark(), [*records, records[0]], answers)
    with pytest.raises(InputError, match="'chance' is computed"):
        summarise(benchmark(), records, answers, {"chance": answers}, resamples=9)


def test_calibration_by_hand():
    def sure(p: float, choice: int = 0) -> Prediction:
        return Prediction(id="x", choice=choice, probabilities=(p, 1 - p))

    given = [sure(0.35), sure(0.30), sure(1.0), sure(0.95), sure(0.0, 1), Prediction(id="x", error="gone")]
    found = calibration([*given, Prediction(id="x", choice=0)], [1, 0, 1, 0, 1, 0, 1])
    assert [(b.low, b.high, b.questions, round(b.confidence, 4), round(b.accuracy, 4)) for b in found.bins] == [
        (0.3, 0.4, 2, 0.325, 0.5),
        (0.9, 1.0, 3, 0.9833, 0.6667),
    ]
    assert found.error == pytest.approx((2 * 0.175 + 3 * (2.95 / 3 - 2 / 3)) / 5)
    assert calibration([Prediction(id="x", choice=0)], [1]) is None


def test_letters_count_options_that_only_some_have():
    records = [record("1", answer=1), record("2", answer=3, options=("a", "b", "c", "d"))]
    found = letters(records, [answered(records[0], 1), answered(records[1], 2)])
    assert (found.chosen, found.right) == ((0, 1, 1, 0), (0, 1, 0, 1))


def test_reasons_are_counted_without_names():
    example = record("7", "cat", options=())
    assert reason(example, "/data/cat.mp4: 7 of 17 frames can't be read in cat") == "… of 17 frames can't be read in …"
    assert reason(example, "") == "no reason given"


def test_examples_are_drawn_by_seed_and_spread_over_types():
    records = examples(2000, 200)
    answers = predictions(records, errors=40)
    first = examples_to_show(records, answers)
    assert first == examples_to_show(records, list(reversed(answers)))
    assert first != examples_to_show(records, answers, seed=1)
    assert list(first) == sorted(first)
    assert max(first) > "1500"  # of all the file, not of its beginning
    by_id = {p.id: p for p in answers}
    state = Counter("error" if by_id[i].error else "right" if by_id[i].correct else "wrong" for i in first)
    assert state == {"right": 24, "wrong": 24, "error": 6}
    kinds = {e.id: e.kind for e in records}
    assert set(Counter(kinds[i] for i in first if by_id[i].correct).values()) <= {4, 5}


def test_rare_types_are_shown_and_few_records_are_shown_once():
    records = [*examples(50, kind="frequent"), record("rare", kind="rare")]
    answers = [answered(r, r.answer) for r in records]
    assert "rare" in examples_to_show(records, answers, right=2)
    assert len(examples_to_show(records[:3], answers[:3])) == 3
    hidden = examples(100, answer=None)
    assert len(examples_to_show(hidden, predictions(hidden), right=3, wrong=4)) == 7
    assert examples_to_show([], []) == ()


def test_a_record_is_shown_as_it_was_asked():
    example = examples(1)[0]
    prediction = predictions([example])[0]
    found = sample(example, prediction, evaluations.frames(2))
    assert (found.id, found.options, found.answer) == (example.id, example.options, example.answer)
    assert (found.choice, found.credit, len(found.frames)) == (prediction.choice, prediction.correct, 2)
    assert found.verdict == ("right" if prediction.correct else "wrong")


def test_a_video_is_played_where_it_lies_below_the_report(tmp_path):
    (tmp_path / "videos").mkdir()
    path = tmp_path / "videos" / "v.mp4"
    path.touch()
    example = replace(examples(1)[0], path=path, description="a dog is fed")
    prediction = predictions([example])[0]
    found = sample(example, prediction, out=tmp_path)
    assert (found.file, found.description) == ("videos/v.mp4", "a dog is fed")
    assert sample(example, prediction, out=tmp_path / "elsewhere").file is None
    path.unlink()
    assert sample(example, prediction, out=tmp_path).file is None


def test_models_of_other_seeds_are_averaged():
    records = [record("1", "v", 0), record("2", "w", 1), record("3", "x", 1)]
    first = [answered(r, choice, probabilities=(0.6, 0.4)) for r, choice in zip(records, (0, 1, 0), strict=True)]
    second = [answered(r, choice) for r, choice in zip(records, (0, 0, 0), strict=True)]
    alone = summarise(benchmark(), records, first, resamples=50)
    found = summarise(benchmark(), records, first, {"blind": averaged([first, second])}, repeats=[second], resamples=50)
    assert found.scores[0].estimate.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert (found.letters, found.calibration) == (alone.letters, alone.calibration)
    (difference,) = [d.estimate for d in found.differences if d.name == "model - blind"]
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert any("2 models" in note for note in found.notes)
    with pytest.raises(InputError, match="of another seed: 1 of 3 records have none"):
        summarise(benchmark(), records, first, repeats=[second[:2]])


def test_time_is_compared_over_its_kinds_alone():
    records = [record(str(k), f"v{k % 3}", 0, kind="order" if k % 2 else "colour") for k in range(6)]
    right, wrong = ([answered(r, choice) for r in records] for choice in (0, 1))
    ordered = [right[k] if k % 2 else wrong[k] for k in range(6)]
    baselines = {"shuffled_frames": wrong, "no_projection": wrong}
    timed = benchmark(time_kinds=("order", "before_after"))
    found = {(d.name, d.kinds): d.estimate for d in summarise(timed, records, ordered, baselines).differences}
    kinds = ("order", "before_after")
    assert found["model - shuffled_frames", None].value == 0.5
    assert found["model - shuffled_frames", kinds].value == 1
    assert found["model - shuffled_frames", kinds].questions == 3
    assert ("model - no_projection", kinds) not in found
    assert not [d for d in summarise(benchmark(), records, ordered, baselines).differences if d.kinds]
