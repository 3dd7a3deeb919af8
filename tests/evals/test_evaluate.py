"""`topa evaluate` from files to report: what it leaves, refuses and goes on with; processes that are killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from topa import Topa
from topa.core.artifacts import write_atomically
from topa.core.embedded import resolve
from topa.evals.datasets.mvbench import TASKS
from topa.evals.predictions import NAME, Prediction
from topa.evals.report import EvaluationReport
from topa.features.encode_video import encode_video
from topa.features.video import sample_frames
from topa.microworld.writer import make_videos
from topa.prompts.prompt import Prompter

VIDEOS = 8
FILES = (NAME, *(f"baselines/{view}.jsonl" for view in ("blind", "shuffled_frames", "single_frame", "no_projection")))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_videos(folder, VIDEOS, 11, questions=3, show=False)
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    """Grows with the first evaluation that needs them."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def evaluate(topa, data, features, micro_model):
    def run(benchmark, out, *words, folder=data):
        return topa(
            "evaluate",
            benchmark,
            "--data",
            folder,
            "--model",
            micro_model,
            "--features",
            features,
            "--out",
            out,
            *words,
        )

    return run


def predictions(out: Path) -> list[Prediction]:
    return [Prediction.model_validate_json(line) for line in (out / NAME).read_text().splitlines()]


def report(out: Path) -> EvaluationReport:
    return EvaluationReport.model_validate_json((out / "report.json").read_bytes())


def test_the_micro_world_with_baselines(evaluate, data, tmp_path):
    done = evaluate("microworld", tmp_path, "--baselines")
    assert done.code == 0, done.err
    found, told = predictions(tmp_path), report(tmp_path)
    published = [json.loads(line)["id"] for line in (data / "questions.jsonl").read_text().splitlines()]
    assert [prediction.id for prediction in found] == published
    assert told.counts.published == len(published) == told.scores[0].estimate.questions
    assert told.scores[0].estimate.value == pytest.approx(sum(p.correct for p in found) / len(found))
    assert [c.name for c in told.conditions] == [
        "model", "chance", "longest", "blind", "shuffled_frames", "single_frame", "no_projection",
    ]  # fmt: skip
    assert told.conditions[1].accuracy.value == pytest.approx(0.2)
    assert sum(told.letters.right) == len(published)
    assert told.command.startswith("topa evaluate microworld")
    assert {"records", "adapter", "memory", "encoder", "predictions"} <= told.hashes.keys()
    frames = told.samples[0].frames
    assert len(frames) == 5
    assert all(frame.image.startswith("data:image/jpeg") and frame.captions for frame in frames)
    assert f"report:      {tmp_path / 'report.html'}" in done.out
    assert "shuffled frames" in done.out
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    again = evaluate("microworld", tmp_path, "--baselines", "--json")
    assert json.loads(again.out)["scores"][0]["name"] == "accuracy"
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before


def test_each_protocol_and_less_of_the_video(evaluate, tmp_path):
    for words in (["--protocol", "similarity"], ["--protocol", "selection", "--permutations"]):
        out = tmp_path / words[1]
        assert evaluate("microworld", out, *words).code == 0
        told = report(out)
        assert told.protocol == words[1]
        assert told.settings["permutations"] == (len(words) == 3)
        assert len(predictions(out)[0].scores) == 5
    done = evaluate("microworld", tmp_path / "one", "--frames", "1")
    assert done.code == 2
    assert "holds 5 frames" in done.err
    done = evaluate("microworld", tmp_path / "one", "--frames", "1", "--features", tmp_path / "single")
    assert done.code == 0, done.err
    assert report(tmp_path / "one").settings["frames"] == 1
    assert len(report(tmp_path / "one").samples[0].frames) == 1


def test_open_questions_and_captions(evaluate, tmp_path):
    assert evaluate("microworld-open", tmp_path / "open", "--limit", "6").code == 0
    told = report(tmp_path / "open")
    assert told.scores[0].name == "exact match"
    assert told.scores[0].estimate.questions == 6 == told.counts.published
    assert any("drawn by seed 0" in note for note in told.notes)
    assert evaluate("microworld-captions", tmp_path / "captions", "--baselines").code == 0
    told = report(tmp_path / "captions")
    assert told.scores[0].name == "CIDEr-D"
    named = {score.name: score.estimate.value for score in told.scores if score.estimate}
    assert named["CIDEr-D"] > named["CIDEr-D, blind"]
    assert {"BLEU-4", "ROUGE-L", "CIDEr-D, shuffled frames"} <= named.keys()
    assert {s.name for s in told.scores if s.estimate is None} == {"METEOR", "SPICE"}
    assert all(p.correct is None and p.text for p in predictions(tmp_path / "captions"))


def test_the_same_records_are_drawn_by_a_seed(evaluate, tmp_path):
    drawn = []
    for number, words in enumerate(([], [], ["--seed", "1"])):
        evaluate("microworld", tmp_path / str(number), "--limit", "5", *words)
        drawn.append([prediction.id for prediction in predictions(tmp_path / str(number))])
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(one) == 5 for one in drawn)


def test_missing_videos_are_listed_and_wrong_or_an_error(evaluate, data, tmp_path):
    folder = tmp_path / "data"
    make_videos(folder, 3, 11, questions=3, show=False)
    (gone,) = folder.glob("videos/*-000001.mp4")
    gone.unlink()
    refused = evaluate("microworld", tmp_path / "all", "--require-all", "--features", tmp_path / "f", folder=folder)
    assert refused.code == 2
    assert "1 videos are missing" in refused.err
    assert gone.name in refused.err
    assert not (tmp_path / "all" / NAME).exists()
    planned = evaluate(
        "microworld", tmp_path / "dry", "--dry-run", "--json", "--features", tmp_path / "f", folder=folder
    )
    told = json.loads(planned.out)
    assert (told["records"], told["clips"], told["to_encode"], len(told["missing"])) == (9, 3, 2, 1)
    assert told["parameters"] > 1_000_000
    assert not (tmp_path / "dry").exists()
    done = evaluate("microworld", tmp_path / "out", "--features", tmp_path / "f", folder=folder)
    assert done.code == 0
    assert len(report(tmp_path / "out").missing) == 3
    assert report(tmp_path / "out").scores[0].estimate.questions == 9
    assert "3 without an answer" in done.out


def test_a_folder_holds_one_evaluation(evaluate, tmp_path):
    evaluate("microworld", tmp_path, "--limit", "4")
    for words, told in (
        (["--limit", "5"], "limit is 5 and was 4"),
        (["--limit", "4", "--protocol", "similarity"], "protocol is 'similarity' and was 'logits'"),
    ):
        done = evaluate("microworld", tmp_path, *words)
        assert done.code == 2
        assert told in done.err


def test_what_is_refused_at_once(topa, evaluate, tmp_path):
    for words, told in (
        (["microwold", "--out", tmp_path], "did you mean 'microworld'"),
        (["--out", tmp_path], "found no BENCHMARK"),
        (["microworld"], "found no --out"),
        (["nextqa", "--out", tmp_path], "Name their folder: --data"),
        (["microworld", "--out", tmp_path, "--split", "val"], "split of microworld 'val'"),
        (["microworld", "--out", tmp_path, "--subtitles"], "comes without subtitles"),
        (["microworld-open", "--out", tmp_path, "--permutations"], "has no options"),
        (["microworld", "--out", tmp_path, "--protocol", "logit"], "did you mean 'logits'"),
    ):
        done = topa("evaluate", *words)
        assert done.code == 2, words
        assert told in done.err
    done = evaluate("microworld", tmp_path / "f", "--frames", "9")
    assert "expected 1 to 5" in done.err
    done = evaluate("microworld", tmp_path / "f", "--limit", "0")
    assert "expected 1 or more" in done.err


def test_a_file_of_ones_own_questions(topa, data, features, micro_model, tmp_path):
    """Choices and open questions in one file; one video is there as features only."""
    lines = [json.loads(line) for line in (data / "questions.jsonl").read_text().splitlines()[:6]]
    lines[1] = {"id": "open", "video": lines[1]["video"], "question": "what toy is it ?", "answer": "a thing"}
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    (folder / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--data", folder / "mine.jsonl", "--model", micro_model, "--features", features, "--require-all"]
    done = topa("evaluate", "own", *words, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    found = predictions(tmp_path / "out")
    assert [p.error for p in found] == [None] * 6
    assert (found[1].choice, found[1].correct, len(found[0].scores)) == (None, 0.0, 5)
    assert found[1].text
    assert report(tmp_path / "out").samples[0].frames[0].image is None


def test_ones_own_questions_about_videos_elsewhere(topa, data, features, micro_model, tmp_path):
    """The same predictions, wherever the file of questions lies; the features are those of the videos' folder."""
    lines = (data / "questions.jsonl").read_text().splitlines(keepends=True)[:6]
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    own = ["--data", tmp_path / "mine.jsonl", "--model", micro_model, "--features", features]
    done = topa("evaluate", "own", *own, "--videos", data, "--require-all", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert [p.error for p in predictions(tmp_path / "out")] == [None] * 6
    folder = ["--data", data, "--model", micro_model, "--features", features, "--out", tmp_path / "beside"]
    assert topa("evaluate", "own", *folder).code == 0
    assert predictions(tmp_path / "beside")[:6] == predictions(tmp_path / "out")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_run_in_which_every_record_failed_is_a_failure(topa, data, micro_model, tmp_path, more):
    lines = (data / "questions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    (tmp_path / "videos").mkdir()
    (tmp_path / json.loads(lines[0])["video"]).write_text("no video")
    words = ["--data", tmp_path / "mine.jsonl", "--model", micro_model, "--out", tmp_path / "out"]
    done = topa("evaluate", "own", *words, *more)
    assert done.code == 1
    reason = f"all {len(lines)} records failed; the commonest reason, of {len(lines) - 3} of them (such as "
    assert done.err.splitlines()[-1].startswith(f"topa: evaluate: {reason}videos/")
    assert ": the video is missing: …. " in done.err
    assert len(predictions(tmp_path / "out")) == report(tmp_path / "out").counts.published == len(lines)
    if more:
        assert json.loads(done.out)["counts"]["published"] == len(lines)


def test_what_is_wrong_is_told_before_a_model_is_made_or_loaded(topa, data, micro_model, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a model was made or loaded for nothing")

    monkeypatch.setattr("topa.evals.evaluate.default_model", never)
    monkeypatch.setattr("topa.evals.evaluate.load", never)
    aligned = ["--model", micro_model]
    evaluated = tmp_path / "evaluated"
    evaluated.mkdir()
    write_atomically(evaluated / "run.json", '{"benchmark": "nextqa"}')
    for words, told in (
        (["nextqa", "--data", tmp_path / "gone"], "found nothing there"),
        (["own", "--data", tmp_path], "found no questions.jsonl"),
        (["own", "--data", data, "--videos", tmp_path / "gone"], "expected the folder of the videos"),
        (["nextqa", "--data", data, "--videos", data], "--videos: those of nextqa are looked for in --data"),
        (["microworld", "--data", data, "--model", tmp_path / "gone"], "expected a model saved by topa"),
        (["microworld", "--data", data, "--frames", "9", *aligned], "expected 1 to 5"),
        (["microworld", "--data", data, "--out", evaluated, *aligned], "benchmark is 'microworld' and was 'nextqa'"),
    ):
        done = topa("evaluate", "--out", tmp_path / "out", *words)
        assert done.code in (1, 2), words
        assert told in done.err, words
        assert done.err.count("\n") <= 2


def test_all_benchmarks_are_listed(topa):
    found = {b["name"]: b for b in json.loads(topa("evaluate", "--list", "--json").out)}
    assert {"egoschema", "mvbench", "msrvtt-captions", "videomme", "microworld"} <= found.keys()
    assert found["mvbench"]["task"] == "choice"
    assert "egoschema" in topa("evaluate", "--list").out


NEXTQA = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"


@pytest.fixture(scope="module")
def released(data, micro_model, tmp_path_factory) -> tuple[Path, list[dict]]:
    """Questions in NExT-QA's form about videos of which there are features only, but of one none at all."""
    encoder = Topa.from_pretrained(micro_model, resolve=resolve).encoder
    folder = tmp_path_factory.mktemp("released")
    asked = [json.loads(line) for line in (data / "questions.jsonl").read_text().splitlines()]
    lines, tensors = [NEXTQA], {}
    for number, one in enumerate(asked):
        video = Path(one["video"]).stem.rpartition("-")[2]
        options = ",".join(f'"{option}"' for option in one["options"])
        lines.append(
            f'{video},40,128,128,"{one["question"]}",{one["answer"]},{number},{"CW" if number % 2 else "TN"},{options}'
        )
        if video not in tensors and number > 2:
            sampled = encode_video(data / one["video"], encoder, 20).features
            tensors[video] = sampled.values * 7.5  # published features aren't of unit length
    (folder / "val.csv").write_text("\n".join(lines) + "\n")
    torch.save(tensors, folder / "clipvitl14.pth")
    return folder, asked


def test_released_features_stand_for_videos(topa, released, micro_model, tmp_path):
    folder, asked = released
    words = ["--data", folder, "--model", micro_model, "--features", folder / "clipvitl14.pth", "--out", tmp_path]
    done = topa("evaluate", "nextqa", *words, "--baselines")
    assert done.code == 0, done.err
    found, told = predictions(tmp_path), report(tmp_path)
    assert len(found) == len(asked)
    failed = [p for p in found if p.error]
    assert len(failed) == 3 == len(told.missing)
    assert all("no features" in p.error for p in failed)
    assert set(told.breakdowns) == {"type", "family"}
    assert told.scores[0].estimate.questions == len(asked)
    by = {condition.name: condition.accuracy.value for condition in told.conditions}
    assert by["model"] > by["blind"] + 0.15
    assert told.settings["features"] == "released"
    assert all(frame.image is None and frame.captions for sample in told.samples for frame in sample.frames)
    planned = topa("evaluate", "nextqa", *words, "--dry-run", "--json")
    assert json.loads(planned.out)["missing"] == ["000000"]
    refused = topa("evaluate", "nextqa", *words, "--require-all")
    assert (refused.code, "1 videos are missing: 000000" in refused.err) == (2, True)


def test_subtitles_are_what_is_said_at_the_frames(topa, data, micro_model, tmp_path, monkeypatch):
    """Video-MME's form, with words in one video's subtitles that give the answer away or mislead."""
    rows = []
    for number, line in enumerate((data / "questions.jsonl").read_text().splitlines()[:6]):
        one = json.loads(line)
        name = Path(one["video"]).stem
        (tmp_path / "data").mkdir(exist_ok=True)
        if not (tmp_path / "data" / f"{name}.mp4").exists():
            shutil.copy(data / one["video"], tmp_path / "data")
        options = [f"{letter}. {option}" for letter, option in zip("ABCD", one["options"][:4], strict=True)]
        told = {"videoID": name, "duration": "short", "domain": "d", "sub_category": "s", "task_type": "t"}
        rows.append(
            {**told, "question_id": f"{number}-1", "question": one["question"], "options": options, "answer": "A"}
        )
    (tmp_path / "Video-MME.json").write_text(json.dumps(rows))
    (tmp_path / "subtitle").mkdir()
    (tmp_path / "subtitle" / f"{rows[0]['videoID']}.srt").write_text(
        "1\n00:00:00,000 --> 00:00:00,600\nthe ball is red\n\n2\n00:20:00,000 --> 00:20:01,000\nnever heard\n"
    )
    heard = []
    inner = Prompter.candidates
    monkeypatch.setattr(Prompter, "candidates", lambda self, q, *a: (heard.append(q), inner(self, q, *a))[1])
    scores = []
    for words in ([], ["--subtitles"]):
        heard.clear()
        out = tmp_path / f"out{len(words)}"
        done = topa("evaluate", "videomme", "--data", tmp_path, "--model", micro_model, "--out", out, *words)
        assert done.code == 0, done.err
        scores.append([p.scores for p in predictions(out)])
        spoken = [q for q in heard if q.startswith("Subtitles: the ball is red\n")]
        same = sum(row["videoID"] == rows[0]["videoID"] for row in rows)
        assert len(spoken) == (same if words else 0)
        assert not any("never heard" in q for q in heard)
    assert scores[0][0] != scores[1][0]
    notes = report(tmp_path / "out1").notes
    assert any("at most 120 words" in note for note in notes)
    without = len(rows) - sum(row["videoID"] == rows[0]["videoID"] for row in rows)
    assert any(f"{without} of {len(rows)} records were asked without subtitles" in note for note in notes)


def test_the_submission_file_of_mvbench(topa, data, micro_model, tmp_path):
    """All twenty files; one task is a folder of pictures."""
    asked = [json.loads(line) for line in (data / "questions.jsonl").read_text().splitlines()]
    (tmp_path / "json").mkdir()
    for number, (task, folder) in enumerate(TASKS.items()):
        one = asked[number % len(asked)]
        video = data / one["video"]
        place = tmp_path / "video" / folder
        if task == "episodic_reasoning":
            name = "clip"
            (place / name).mkdir(parents=True)
            for picture, frame in enumerate(sample_frames(video, 15).frames, start=1):
                frame.save(place / name / f"{picture:05d}.jpg", quality=95)
        else:
            name = video.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, place)
        item = {
            "video": name,
            "question": one["question"],
            "candidates": one["options"],
            "answer": one["options"][one["answer"]],
        }
        (tmp_path / "json" / f"{task}.json").write_text(json.dumps([item]))
    done = topa("evaluate", "mvbench", "--data", tmp_path, "--model", micro_model, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    told, found = report(tmp_path / "out"), predictions(tmp_path / "out")
    assert not told.missing
    assert len(found) == 20
    sent = json.loads((tmp_path / "out" / "submission.json").read_text())
    assert len(sent) == 21
    assert sent["Avg"] == pytest.approx(100 * told.scores[0].estimate.value)
    assert sent["Episodic Reasoning"] == 100 * found[-2].correct
    assert "submission" in done.out
    assert told.scores[1].name == "accuracy, mean over types"


# The processes below answer in blocks of 8 records, so that a few videos make many blocks, and say when they begin.
_PROGRAM = """
from topa.evals import evaluate as evaluating
from topa.evals import runner as run
from topa.cli import main
run.RECORDS = 8
write = evaluating.write_atomically
def announced(path, text):
    write(path, text)
    if path.name == evaluating.RUN:
        print("at work", flush=True)
evaluating.write_atomically = announced
main()
"""


def start(out: Path, data: Path, model: Path, *words: str) -> subprocess.Popen[str]:
    command = ["evaluate", "microworld", "--baselines", "--data", data, "--model", model, "--out", out, *words]
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return out


def killed(process: subprocess.Popen[str], wait: float) -> bool:
    """Kill it so long after it has begun to work; whether it was still at work."""
    assert process.stdout is not None
    for line in process.stdout:
        if line == "at work\n":
            break
    with suppress(subprocess.TimeoutExpired):
        process.wait(wait)
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid)
        for one in (*family.children(recursive=True), family):
            one.kill()
    said = process.communicate()[1]
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode == -signal.SIGKILL


def test_a_run_that_is_killed_goes_on_to_the_byte(data, micro_model, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start(whole, data, micro_model))
    assert killed(start(cut, data, micro_model), 0.3)
    finish(start(cut, data, micro_model))
    for name in FILES:
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_twenty_random_moments(micro_model, tmp_path):
    """The closing note's number: `make slow ARGS='-k twenty_random -s'`."""
    data, whole, cut = tmp_path / "data", tmp_path / "whole", tmp_path / "cut"
    make_videos(data, 60, 11, show=False)
    finish(start(whole, data, micro_model))
    rng, kills = random.Random(0), 0
    while kills < 20:
        assert killed(start(cut, data, micro_model), rng.uniform(0, 0.5)), "it ended before twenty kills"
        kills += 1
    before = sum(1 for name in FILES for _ in (cut / name).open("rb"))
    finish(start(cut, data, micro_model))
    for name in FILES:
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    total = sum(1 for name in FILES for _ in (whole / name).open("rb"))
    print(f"\\n20 kills, {total:,} predictions, {before:,} of them before the last start: equal to the byte")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_give_the_bytes_of_one(data, micro_model, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for out, processes in ((one, "1"), (two, "2")):
        words = ["--model", micro_model, "--data", data, "--baselines", "--processes", processes, "--out", out]
        command = [sys.executable, "-m", "topa.cli", "evaluate", "microworld", *map(str, words)]
        subprocess.run(command, check=True, timeout=300, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    for name in FILES:
        assert (two / name).read_bytes() == (one / name).read_bytes()
    assert not list(two.rglob("*.jsonl.*"))
