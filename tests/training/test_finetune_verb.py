"""Fine-tuning on labelled videos, real files of the micro world: what comes out, what is left out or refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from features.towers import save_clip
from topa import Topa
from topa.core.artifacts import RECORD, read_manifest
from topa.core.embedded import resolve
from topa.core.errors import AllFailed, ArtifactMismatch, InputError, UsageError
from topa.evals.questions import UnfitQuestion
from topa.features.encode_video import encode_video
from topa.features.encoder import Encoder
from topa.features.feature_cache import FeatureCache
from topa.features.shard import Item, write_shard
from topa.features.store import FeatureStoreWriter, finish_store
from topa.memory.bank import MemoryBank
from topa.microworld.writer import make_videos
from topa.models import saved
from topa.training.config import TrainConfig
from topa.training.finetune import configuration, finetune
from topa.training.finetune_config import FinetuneConfig, finetune_recipes, read_finetune_recipe
from topa.training.labelled import LabelledVideos, Selection, select
from topa.training.loop import Watch

FAST = ("epochs=1", "batch_size=16", "held_out=0.2", "validation=8")
VIDEOS = 10


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Videos, a file of questions about them, and their features once they were made."""
    folder = tmp_path_factory.mktemp("labelled")
    make_videos(folder, VIDEOS, 7, questions=3, show=False)
    return folder


def source(labelled: Path, **changes) -> LabelledVideos:
    return LabelledVideos(**{"data": labelled / "questions.jsonl", "features": labelled / "features", **changes})


def settings(model: Path, *more: str, **options) -> FinetuneConfig:
    return configuration(model, "microworld", [*FAST, *more], **options)


def tune(model: Path, data: LabelledVideos, out: Path, *more: str, **options):
    return finetune(settings(model, *more, **options), model, data, out, watch=Watch(show=False))


@pytest.fixture(scope="module")
def tuned(micro_model, labelled, tmp_path_factory) -> Path:
    """A model that was fine-tuned on pictures as they are."""
    out = tmp_path_factory.mktemp("tuned") / "raw"
    tune(micro_model, source(labelled), out)
    return out


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, items: list[dict]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the record of the folder's files, which holds times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter.safetensors")


def test_a_model_that_reads_pictures_as_they_are(micro_model, labelled, tuned):
    engine = Topa.from_pretrained(tuned, resolve=resolve)
    assert (engine.config.bridge, engine.memory) == ("raw", None)
    before = saved.read_config(micro_model)
    assert engine.config == before.model_copy(update={"bridge": "raw"})
    video = labelled / "videos" / "micro-7-000000.mp4"
    assert engine.encode_video(video).features.space == "image"
    assert engine.ask(video, "what colour is the toy at the end ?", ["red", "blue"]).choice in (0, 1)
    assert not (tuned / "memory.safetensors").exists()
    run = json.loads((tuned / "run.json").read_text())
    assert (run["kind"], run["settings"]["bridge"]) == ("finetune", "raw")
    assert (tuned / "best" / "config.json").is_file()


def test_it_starts_from_the_aligned_adapter(micro_model, labelled, tuned, tmp_path):
    start = adapter(micro_model)
    tune(micro_model, source(labelled), tmp_path / "still", "lr=1e-9", "projector_lr=1e-9", "raw_projector=aligned")
    assert all(torch.allclose(start[name], value, atol=1e-6) for name, value in adapter(tmp_path / "still").items())
    assert not [name for name, value in adapter(tuned).items() if torch.equal(value, start[name])]
    tune(micro_model, source(labelled), tmp_path / "scratch", "lr=1e-9", "projector_lr=1e-9", from_scratch=True)
    random = adapter(tmp_path / "scratch")
    assert not torch.allclose(random["projector.linear.weight"], start["projector.linear.weight"], atol=0.1)
    assert random["prompts.0.gate"].abs().max() < 1e-6
    assert random["prompts.0.prompt"].std() == pytest.approx(0.2, rel=0.1)
    assert json.loads((tmp_path / "scratch" / "run.json").read_text())["parents"]["adapter"] == "none"


def test_a_projector_that_is_drawn_anew(micro_model, labelled, tuned, tmp_path):
    """By the recipe where pictures come as they are, and only the projector."""
    still = ("lr=1e-9", "projector_lr=1e-9")
    tune(micro_model, source(labelled), tmp_path / "fresh", *still)
    tune(micro_model, source(labelled), tmp_path / "projected", *still, "bridge=projected")
    start, fresh, projected = (adapter(f) for f in (micro_model, tmp_path / "fresh", tmp_path / "projected"))
    other = {name for name in start if not torch.allclose(start[name], fresh[name], atol=1e-6)}
    assert other == {"projector.linear.weight"}
    assert fresh["projector.linear.weight"].std() < 1 < start["projector.linear.weight"].std()
    assert all(torch.allclose(start[name], projected[name], atol=1e-6) for name in start)
    assert "with a projector drawn anew" in (tmp_path / "fresh" / "README.md").read_text()
    assert "drawn anew" not in (tmp_path / "projected" / "README.md").read_text()


def test_the_card_says_from_what_and_on_what(micro_model, labelled, tuned):
    card = (tuned / "README.md").read_text()
    assert "`questions.jsonl` (jsonl), 24 questions about 8 videos, pictures as they are" in card
    assert (
        f"from the pre-aligned adapter `{micro_model.name}` with a projector drawn anew. 0 questions left out" in card
    )
    assert "on 2 held-out videos 0." in card
    assert FinetuneConfig(**json.loads(card.split("```json")[1].split("```")[0])) == settings(micro_model)
    assert str(labelled) not in card


def test_projected_pictures_take_the_memory_along(micro_model, labelled, tmp_path):
    result = tune(micro_model, source(labelled), tmp_path, "bridge=projected")
    engine = Topa.from_pretrained(tmp_path, resolve=resolve)
    assert engine.config.bridge == "projected"
    assert torch.equal(engine.memory.values, MemoryBank.load(micro_model).values)
    answer = engine.ask(labelled / "videos" / "micro-7-000000.mp4", "what does the toy do ?")
    assert all(frame.captions for frame in answer.evidence)
    assert len(answer.evidence) == engine.config.frames
    assert Topa.from_pretrained(tmp_path / "best", resolve=resolve).memory is not None
    assert (result.questions, result.videos, result.held_out_questions, result.left_out) == (24, 8, 6, {})


def test_projected_needs_a_memory(tuned, labelled, tmp_path):
    with pytest.raises(UsageError, match=r"has no memory.*leave out --bridge"):
        tune(tuned, source(labelled), tmp_path, "bridge=projected")
    assert not list(tmp_path.iterdir())


def test_the_same_command_again(micro_model, labelled, tuned, tmp_path, monkeypatch):
    """Elsewhere it gives the same bytes, and there it changes nothing; videos are decoded once."""

    def never(*_, **__):
        raise AssertionError("this was done before")

    monkeypatch.setattr("topa.features.feature_cache.encode", never)
    tune(micro_model, source(labelled), tmp_path)
    assert contents(tmp_path)["adapter.safetensors"] == contents(tuned)["adapter.safetensors"]
    before = contents(tuned)
    monkeypatch.setattr("topa.training.loop.compute_loss", never)
    tune(micro_model, source(labelled), tuned)
    after = contents(tuned)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"README.md", "best/README.md"}


def test_another_run_in_the_same_folder_is_refused(micro_model, labelled, tuned, tmp_path):
    with pytest.raises(UsageError, match=r"holds a run with other settings \(fraction: 1.0 then, 0.5 now"):
        tune(micro_model, source(labelled), tuned, "fraction=0.5")
    items = rows(labelled / "questions.jsonl")
    items[0]["question"] = "who is there ?"
    changed = source(labelled, data=write(tmp_path / "own.jsonl", items), videos=labelled)
    with pytest.raises(UsageError, match=r"parents: .*'questions'"):
        tune(micro_model, changed, tuned)


def selected(model: Path, data: LabelledVideos, *more: str) -> Selection:
    config = settings(model, *more)
    base = saved.read_config(model)
    return select(data, config, FeatureCache(Path("nowhere"), base.encoder_identity, base.frames))


def names(data: LabelledVideos, questions) -> set[str]:
    return {data.name(q) for q in questions}


def test_a_share_of_the_videos_is_part_of_a_larger_one(micro_model, labelled):
    data = source(labelled)
    by_share = {f: selected(micro_model, data, f"fraction={f}") for f in (0.01, 0.3, 0.6, 1.0)}
    training = [names(data, found.training) for found in by_share.values()]
    assert [len(videos) for videos in training] == [1, 3, 5, 8]
    assert all(small < large for small, large in pairwise(training))
    held = [names(data, found.held_out) for found in by_share.values()]
    assert all(videos == held[0] for videos in held)
    assert len(held[0]) == 2
    assert not held[0] & training[-1]
    assert all(len(f.training) + len(f.held_out) + f.unseen == 30 for f in by_share.values())
    other = selected(micro_model, data, "seed=1", "fraction=0.3")
    assert names(data, other.training) != training[1]


def test_the_order_of_the_file_draws_nothing(micro_model, labelled, tmp_path):
    items = rows(labelled / "questions.jsonl")
    data = source(labelled, data=write(tmp_path / "back.jsonl", items[::-1]), videos=labelled)
    again = selected(micro_model, data, "fraction=0.3")
    assert names(data, again.training) == names(data, selected(micro_model, source(labelled), "fraction=0.3").training)


def test_one_video_under_two_names_is_one(micro_model, labelled, tmp_path):
    items = rows(labelled / "questions.jsonl")
    for number, item in enumerate(items):
        if number % 2:
            item["video"] = f"./videos/../{item['video']}"
    data = source(labelled, data=write(tmp_path / "own.jsonl", items), videos=labelled)
    found = selected(micro_model, data)
    assert len(names(data, (*found.training, *found.held_out))) == VIDEOS


def test_parts_of_a_video_are_encoded_once_each(micro_model, labelled, tmp_path):
    items = []
    for number, item in enumerate(rows(labelled / "questions.jsonl")):
        part = [{}, {"start": 0.5}, {"start": 0, "end": 1.25}][number % 3]
        items += [{**item, **part}, {**item, **part, "id": f"again-{number}"}]
    data = LabelledVideos(write(tmp_path / "own.jsonl", items), videos=labelled, features=tmp_path / "features")
    tune(micro_model, data, tmp_path / "out")
    (part,) = (tmp_path / "features").glob("part-*")
    assert read_manifest(part, "features").counts["items"] == 3 * VIDEOS
    base = saved.read_config(micro_model)
    known = FeatureCache(tmp_path / "features", base.encoder_identity, base.frames)
    encoder = Encoder.from_pretrained(resolve("microworld/clip"))
    expected = encode_video(labelled / "videos" / "micro-7-000000.mp4", encoder, base.frames, start=0, end=1.25)
    found = known["videos/micro-7-000000.mp4#0-1.25"]
    torch.testing.assert_close(found.values, expected.features.values, atol=1e-3, rtol=0)
    assert found.times.tolist() == expected.features.times.tolist()
    assert "videos/micro-7-000000.mp4#0.5-" in known
    assert "videos/micro-7-000000.mp4" in known


def test_what_cannot_be_used_is_left_out_and_named(micro_model, labelled, tmp_path, capsys):
    folder = tmp_path / "own"
    (folder / "videos").mkdir(parents=True)
    for path in (labelled / "videos").iterdir():
        shutil.copy(path, folder / "videos")
    (folder / "broken.mp4").write_text("this was never a video\n" * 50)
    items = rows(labelled / "questions.jsonl")
    other = {"question": "what is it ?", "options": ["red", "blue"], "answer": 0}
    odd = [
        {**other, "id": "gone", "video": "gone.mp4"},
        {**other, "id": "broken", "video": "broken.mp4"},
        {**other, "id": "late", "video": items[0]["video"], "start": 900},
        {**other, "id": "twice", "video": items[0]["video"], "options": ["red", "red", "blue"], "answer": 2},
        {**other, "id": "many", "video": items[0]["video"], "options": [f"the {n}" for n in range(11)]},
    ]
    data = LabelledVideos(write(folder / "own.jsonl", [*odd, *items]))
    result = tune(micro_model, data, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "left-out.json").read_text())
    by_id = {item["id"]: item for item in told["questions"]}
    assert by_id.keys() == {"gone", "broken", "late", "twice", "many"}
    assert (by_id["gone"]["reason"], by_id["twice"]["reason"]) == ("the video is missing", "options repeat")
    assert by_id["many"]["reason"] == "more than 10 options"
    assert by_id["broken"]["reason"] == by_id["late"]["reason"] == "the video can't be used"
    assert "expected a start before its end" in by_id["late"]["detail"]
    assert "broken.mp4" in by_id["broken"]["detail"]
    assert (
        result.left_out
        == told["reasons"]
        == {
            "the video is missing": 1,
            "options repeat": 1,
            "more than 10 options": 1,
            "the video can't be used": 2,
        }
    )
    assert result.questions + result.held_out_questions == 30
    said = capsys.readouterr().err.replace("\n", " ")
    assert "left out, 1: the video is missing (such as gone, gone.mp4" in said
    assert "5 questions left out" in (tmp_path / "out" / "README.md").read_text()
    again = tune(micro_model, data, tmp_path / "out")
    assert (again.left_out, again.training) == (result.left_out, result.training)


def test_nothing_that_can_be_used(micro_model, labelled, tmp_path):
    items = rows(labelled / "questions.jsonl")[:4]
    (tmp_path / "empty").mkdir()
    data = LabelledVideos(write(tmp_path / "own.jsonl", items), videos=tmp_path / "empty")
    with pytest.raises(AllFailed, match=r"found no question that can be used: 4: the video is missing .*--videos"):
        tune(micro_model, data, tmp_path / "out")
    (tmp_path / "empty" / "videos").mkdir()
    for item in items:
        (tmp_path / "empty" / item["video"]).write_text("no video")
    with pytest.raises(AllFailed, match=r"found no question that can be used: 4: the video can't be used"):
        tune(micro_model, data, tmp_path / "out", "held_out=0")
    with pytest.raises(InputError, match=r"gone: found no such folder.*--videos"):
        tune(micro_model, source(labelled, videos=tmp_path / "gone"), tmp_path / "out")


@pytest.mark.parametrize(("count", "share"), [(1, "0.5"), (3, "0.1"), (2, "0.9")])
def test_too_few_videos_to_hold_some_out(micro_model, labelled, tmp_path, count, share):
    kept = [f"videos/micro-7-{number:06d}.mp4" for number in range(count)]
    items = [item for item in rows(labelled / "questions.jsonl") if item["video"] in kept]
    data = source(labelled, data=write(tmp_path / "few.jsonl", items), videos=labelled)
    with pytest.raises(
        InputError, match=rf"questions about {count} videos, of which a share of {share} is .*held_out=0"
    ):
        selected(micro_model, data, f"held_out={share}")
    assert len(names(data, selected(micro_model, data, "held_out=0").training)) == count


def test_tasks_without_a_share_and_answers_that_are_not_given(micro_model, tmp_path):
    items = [
        {"video": "a.mp4", "question": "q ?", "options": ["red", "blue"], "answer": 0, "id": "choice"},
        {"video": "a.mp4", "question": "q ?", "answer": "red", "id": "open"},
        {"video": "b.mp4", "question": "q ?", "answer": "red", "description": "a red ball", "id": "told"},
    ]
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    data = LabelledVideos(write(tmp_path / "own.jsonl", items))
    both = selected(micro_model, data, "held_out=0", "choose=1", "answer=0")
    assert [q.id for q in both.training] == ["choice"]
    assert [(u.id, u.reason) for u in both.left_out] == [(n, "its task has no share") for n in ("open", "told")]
    told = selected(micro_model, data, "held_out=0", "choose=0", "answer=0", "describe=1")
    assert [q.id for q in told.training] == ["told"]
    rest = [q.id for q in selected(micro_model, data, "held_out=0").training]
    assert rest == ["choice", "open", "told"]
    public = tmp_path / "test.csv"
    public.write_text("video,question,answer,qid,type,a0,a1,a2,a3,a4\na,q,,0,CW,a,b,c,d,e\na,q,2,1,CW,a,b,c,d,e\n")
    found = selected(micro_model, LabelledVideos(public, "nextqa"), "held_out=0")
    assert [q.id for q in found.training] == ["a_1"]
    assert found.left_out == (UnfitQuestion("a_0", "a.mp4", "no answer is given"),)


def test_videos_that_are_folders_of_frames(micro_model, tmp_path):
    line = {"q": "q ?", "ts": "1-2", "answer_idx": 1, **{f"a{n}": f"option {n}" for n in range(5)}}
    lines = [{"qid": n, "vid_name": name, **line} for n, name in enumerate(("met_s01", "gone"))]
    source = LabelledVideos(write(tmp_path / "tvqa_train.jsonl", lines), "tvqa")
    (tmp_path / "frames_hq" / "met_frames" / "met_s01").mkdir(parents=True)
    found = selected(micro_model, source, "held_out=0")
    (question,) = found.training
    clip = source.clip(question)
    assert (clip.id, clip.start, clip.fps) == ("frames_hq/met_frames/met_s01#1-2", 1.0, 3.0)
    assert [(unfit.id, unfit.reason) for unfit in found.left_out] == [("1", "the video is missing")]


def test_descriptions_train_as_well_where_there_are_some(micro_model, labelled, tmp_path):
    stories = {item["video"]: item["description"] for item in rows(labelled / "stories.jsonl")}
    items = rows(labelled / "questions.jsonl")
    for number, item in enumerate(items):
        if number % 2:
            item["description"] = stories[item["video"]]
    data = source(labelled, data=write(tmp_path / "own.jsonl", items), videos=labelled)
    result = tune(micro_model, data, tmp_path / "out", "describe=1")
    held = result.training.held_out
    assert 0 < held.captions < result.held_out_questions
    assert held.rouge_l is not None


def test_published_files_train(micro_model, labelled, tmp_path):
    header = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    with (tmp_path / "train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header.split(","))
        for number, item in enumerate(rows(labelled / "questions.jsonl")):
            told = [Path(item["video"]).stem, 9, 96, 96, item["question"], item["answer"], number, "CW"]
            table.writerow([*told, *item["options"]])
    data = LabelledVideos(tmp_path / "train.csv", "nextqa", labelled / "videos")
    result = tune(micro_model, data, tmp_path / "out")
    assert (result.questions, result.videos) == (24, 8)
    assert "`train.csv` (nextqa)" in (tmp_path / "out" / "README.md").read_text()


def test_features_of_topa_encode_do_without_the_videos(micro_model, labelled, topa, tmp_path):
    table = ["id,path"] + [
        f"{p},{labelled / p}" for p in sorted({r["video"] for r in rows(labelled / "questions.jsonl")})
    ]
    (tmp_path / "videos.csv").write_text("\n".join(table) + "\n")
    encoded = topa(
        "encode", tmp_path / "videos.csv", "--encoder", "microworld/clip", "--frames", 5, "--out", tmp_path / "f"
    )
    assert encoded.code == 0, encoded.err
    shutil.copy(labelled / "questions.jsonl", tmp_path)
    result = tune(micro_model, LabelledVideos(tmp_path / "questions.jsonl", features=tmp_path / "f"), tmp_path / "out")
    assert (result.questions, result.left_out) == (24, {})


def test_features_that_do_not_fit(micro_model, labelled, tmp_path):
    other = Encoder.from_pretrained(save_clip(tmp_path / "other-clip"))
    FeatureStoreWriter(tmp_path / "other", other.identity, other.width, "image").close()
    with pytest.raises(ArtifactMismatch, match=r"made by other-clip-.*; expected clip-"):
        tune(micro_model, source(labelled, features=tmp_path / "other"), tmp_path / "out")
    own = saved.read_config(micro_model)
    few = FeatureStoreWriter(tmp_path / "few", own.encoder_identity, own.feature_width, "image")
    few.close(config={"frames": 3})
    with pytest.raises(ArtifactMismatch, match=r"holds 3 frames of each video; expected 5.*--features"):
        tune(micro_model, source(labelled, features=tmp_path / "few"), tmp_path / "out")


def test_features_that_are_no_numbers(micro_model, labelled, tmp_path):
    base = saved.read_config(micro_model)
    items = rows(labelled / "questions.jsonl")
    videos = sorted({item["video"] for item in items})
    generator = torch.Generator().manual_seed(0)
    values = torch.nn.functional.normalize(torch.randn(VIDEOS, 5, base.feature_width, generator=generator), dim=-1)
    values[3] = torch.nan
    (tmp_path / "f").mkdir()
    made = [Item(name, v, None, number) for number, (name, v) in enumerate(zip(videos, values, strict=True))]
    write_shard(tmp_path / "f" / "features-00000.safetensors", made, base.feature_width)
    finish_store(tmp_path / "f", ["features-00000.safetensors"], base.encoder_identity, base.feature_width, "image")
    result = tune(micro_model, source(labelled, features=tmp_path / "f"), tmp_path / "out")
    assert result.left_out == {"the video can't be used": 3}
    told = json.loads((tmp_path / "out" / "left-out.json").read_text())["questions"]
    assert {item["video"] for item in told} == {videos[3]}
    assert all("unit rows" in item["detail"] for item in told)


def test_an_encoder_that_is_another_one_by_now(micro_model, labelled, tmp_path, monkeypatch):
    save_clip(tmp_path / "other-clip")
    monkeypatch.setattr(
        "topa.training.finetune.resolve", lambda name: str(tmp_path / "other-clip") if "clip" in name else name
    )
    with pytest.raises(ArtifactMismatch, match=r"aligned with the encoder clip-.*; found other-clip-"):
        tune(micro_model, LabelledVideos(labelled / "questions.jsonl"), tmp_path / "out")


COMMAND = ("finetune", "--recipe", "microworld")


def options(*more: str) -> list[str]:
    return [word for setting in (*FAST, *more) for word in ("--set", setting)]


def test_the_command_line(topa, micro_model, labelled, tuned, tmp_path):
    told = ["--model", micro_model, "--data", labelled / "questions.jsonl", "--features", labelled / "features"]
    done = topa(*COMMAND, *told, "--out", tmp_path, "--fraction", 0.5, "--bridge", "projected", "--json", *options())
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["questions"], found["videos"]) == (12, 4)
    assert found["training"]["steps"] == 1
    again = topa(*COMMAND, *told, "--out", tuned, *options())
    assert again.out.startswith(f"fine-tuned: {tuned} (24 questions about 8 videos, 2 steps")
    assert f"topa ask VIDEO QUESTION --model {tuned}" in again.out


def test_a_dry_run_does_nothing(topa, micro_model, labelled, tmp_path):
    told = ["--model", micro_model, "--data", labelled / "questions.jsonl", "--out", tmp_path / "out", "--dry-run"]
    done = topa(*COMMAND, *told, "--from-scratch", *options("epochs=3"))
    assert done.code == 0, done.err
    assert "24 questions about 8 videos; held out 6 about 2; 10 clips to encode" in done.out
    assert "trains:  16,560 numbers" in done.out
    assert "steps:   6 over 24 samples" in done.out
    found = json.loads(topa(*COMMAND, *told, "--json", *options()).out)
    assert (found["cost"]["steps"], found["to_encode"], found["left_out"]) == (2, 10, {})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fraction", "0"], "fraction: Input should be greater than 0"),
        (["--fraction", "1.5"], "fraction: Input should be less than or equal to 1"),
        (["--set", "epoch=3"], "unknown setting 'epoch'; did you mean 'epochs'?"),
        (["--recipe", "nextqa-8b"], "unknown recipe for fine-tuning 'nextqa-8b'; did you mean 'nextqa-7b'?"),
        (["--format", "nexqa"], "unknown format 'nexqa'; did you mean 'nextqa'?"),
        (["--model", "gone"], "gone: found no such folder; expected a model saved by topa"),
        (["--data", "gone.jsonl"], "gone.jsonl: found nothing there"),
        (["--format", "star"], "questions.jsonl, line"),
    ],
)
def test_a_wrong_request_is_one_paragraph(topa, micro_model, labelled, tmp_path, words, said):
    told = ["--model", micro_model, "--data", labelled / "questions.jsonl", "--out", tmp_path / "out"]
    done = topa(*COMMAND, *told, *options(), *words)
    assert done.code in (1, 2)
    assert done.out == ""
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": []}, "found options []; expected two texts or more"),
        ({"start": 2, "end": 1}, "found start 2.0, end 1.0; expected 0 <= start < end"),
        ({"answer": "purple rain"}, "found the answer 'purple rain'; expected an index from 0 to"),
    ],
)
def test_a_wrong_line_is_named(topa, micro_model, labelled, tmp_path, change, said):
    items = rows(labelled / "questions.jsonl")
    data = write(tmp_path / "own.jsonl", [items[0], {**items[1], **change}])
    done = topa(*COMMAND, "--model", micro_model, "--data", data, "--videos", labelled, "--out", tmp_path / "out")
    assert done.code == 2
    assert f"own.jsonl, line 2: {said}" in done.err


@pytest.mark.timeout(200)
def test_a_killed_process_goes_on_to_the_bit(micro_model, labelled, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def start(out: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "topa.cli", *COMMAND, "--model", str(micro_model), "--out", str(out)]
        command += ["--data", str(labelled / "questions.jsonl"), "--features", str(labelled / "features")]
        command += options("epochs=2", "batch_size=2", "checkpoint_minutes=0", "validation=0")
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    deadline = time.monotonic() + 100
    while not list(killed.glob("checkpoints/step-*")):
        assert time.monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            pytest.fail(f"ended before its first checkpoint: {process.communicate()[1]}")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "adapter.safetensors").exists()
    for out in (killed, whole):
        process = start(out)
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 0, said
        assert ("resuming at step" in said) == (out == killed)
    assert contents(killed)["adapter.safetensors"] == contents(whole)["adapter.safetensors"]


def test_the_recipes_say_what_the_paper_did():
    base = {"protocol": "selection"}
    for name in finetune_recipes():
        assert isinstance(read_finetune_recipe(name, base), FinetuneConfig), name
        assert read_finetune_recipe(name, base, from_scratch=True).from_scratch, name

    def told(name: str, **more):
        config = read_finetune_recipe(name, base, **more)
        return config.epochs, config.epochs * config.warmup, config.batch_size, config.lr

    assert told("nextqa-7b") == told("star-7b") == (5, 1.0, 320, 1.25e-2)
    assert told("tvqa-7b") == (5, 1.0, 320, 6.25e-3)
    assert told("nextqa-13b") == told("star-13b") == told("tvqa-13b") == (5, 1.0, 384, 7.5e-3)
    assert told("nextqa-7b", from_scratch=True) == (10, 2.0, 320, 1.25e-2)
    assert told("star-7b", from_scratch=True) == told("tvqa-7b", from_scratch=True) == (10, 2.0, 320, 2.5e-2)
    assert read_finetune_recipe(None, {}) == FinetuneConfig()
    assert read_finetune_recipe(None, {}, from_scratch=True).epochs == 10


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("epochs = 3\nlr = 0.1\n[from_scratch]\nepochs = 7\n")
    assert read_finetune_recipe(str(path), {"choose": 0.0}, ["lr=0.2"]).model_dump(
        include={"epochs", "lr", "choose"}
    ) == {
        "epochs": 3,
        "lr": 0.2,
        "choose": 0.0,
    }
    assert read_finetune_recipe(str(path), {}, from_scratch=True).epochs == 7
    path.write_text("from_scratch = true\n")
    with pytest.raises(UsageError, match=r"from_scratch is a table of settings; found True"):
        read_finetune_recipe(str(path), {})
    path.write_text("epochs = [")
    with pytest.raises(UsageError, match="not a TOML file"):
        read_finetune_recipe(str(path), {})
    with pytest.raises(UsageError, match="no such recipe file"):
        read_finetune_recipe(str(tmp_path / "gone.toml"), {})


def test_a_model_that_compares_texts_is_trained_on_texts(micro_model):
    assert saved.read_config(micro_model).protocol == "logits"
    found = configuration(micro_model)
    assert (found.protocol, found.choose, found.answer) == ("logits", 0.0, 1.0)
    assert configuration(micro_model, None, ["choose=1"]).choose == 1.0
    assert issubclass(FinetuneConfig, TrainConfig)
    assert FinetuneConfig().choose == 2 * FinetuneConfig().answer
