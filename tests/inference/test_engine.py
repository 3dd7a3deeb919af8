"""The engine on a real saved folder and real files: answers, and refusals that say what to do."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import load_file, save_file

from features.clips import steady, write_video
from features.towers import save_clip
from models.tiny import llm
from topa import Topa
from topa.core.embedded import resolve
from topa.core.errors import ArtifactError, ArtifactMismatch, InputError, UsageError, VideoError
from topa.inference.answer import Answer
from topa.inference.scorer import score_options
from topa.microworld.render import render_frames
from topa.microworld.world import write_story
from topa.tideos.tideo import Question

QUESTION = "what colour is the toy at the end ?"


@pytest.fixture(scope="module")
def engine(micro_model: Path) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture
def folder(micro_model: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return shutil.copytree(micro_model, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoints", "features"))


def change(folder: Path, **values: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return folder


def load(folder: Path) -> Topa:
    return Topa.from_pretrained(folder, resolve=resolve)


def test_a_question_with_choices(engine, micro_video):
    answer = engine.ask(micro_video, QUESTION, ["red", " blue ", "green"])
    assert answer.options == ("red", "blue", "green")
    assert answer.text == answer.options[answer.choice]
    assert answer.scores[answer.choice] == min(answer.scores)
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)
    assert answer.warnings == ()


def test_an_open_question_and_a_caption(engine, micro_video):
    for answer in (engine.ask(micro_video, QUESTION), engine.caption(micro_video)):
        assert (answer.choice, answer.options, answer.probabilities, answer.scores) == (None, (), (), ())
        assert answer.text.strip()
        assert "<" not in answer.text
    assert len(engine.caption(micro_video, max_tokens=3).text.split()) <= 3


def test_evidence_is_one_reading_per_frame(engine, micro_video):
    answer = engine.ask(micro_video, QUESTION)
    assert len(answer.evidence) == engine.config.frames == 5
    times = [frame.time for frame in answer.evidence]
    assert times == sorted(times)
    for frame in answer.evidence:
        assert len(frame.captions) == len(frame.weights) == 3
        assert list(frame.weights) == sorted(frame.weights, reverse=True)
        assert sum(frame.weights) <= 1.0001
        assert set(frame.captions) <= set(engine.memory.captions)


def test_a_video_is_looked_at_once_for_many_questions(engine, micro_video):
    seen = engine.encode_video(micro_video)
    assert seen.features.space == "projected"
    assert len(seen.images) == 5
    assert engine.ask(seen, QUESTION, ["red", "blue"]) == engine.ask(micro_video, QUESTION, ["red", "blue"])
    assert engine.caption(seen) == engine.caption(micro_video)


def test_protocols_differ_and_logits_is_the_default(engine, micro_video):
    by = {p: engine.ask(micro_video, QUESTION, ["red", "blue"], protocol=p).scores for p in ("logits", "selection")}
    assert by["logits"] != by["selection"]
    assert engine.ask(micro_video, QUESTION, ["red", "blue"]).scores == by["logits"]


def test_an_answer_can_be_written_as_json(engine, micro_video):
    answer = engine.ask(micro_video, QUESTION, ["red", "blue"])
    told = json.loads(json.dumps(answer.as_json(), allow_nan=False))
    assert told["text"] == answer.text
    assert told["options"] == ["red", "blue"]
    assert told["evidence"][0]["captions"] == list(answer.evidence[0].captions)
    assert set(told) == {*Answer.__dataclass_fields__, "frames_by"}
    assert told["frames_by"] == told["frame_selection"] == "uniform"


def test_without_captions_there_is_no_evidence_but_an_answer(folder, micro_video):
    (folder / "captions.safetensors").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["captions.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    answer = load(folder).ask(micro_video, QUESTION, ["red", "blue"])
    assert answer.evidence == ()
    assert answer.text in ("red", "blue")


def test_a_cut_video_is_answered_with_a_warning(engine, tmp_path):
    options = {"g": "30", "preset": "veryfast"}
    path = write_video(tmp_path / "a.mp4", steady(200), options=options, mux={"movflags": "faststart"})
    assert engine.caption(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    for answer in (engine.caption(path), engine.ask(path, QUESTION)):
        assert len(answer.warnings) == 1
        assert "damaged or cut short" in answer.warnings[0]


def test_words_that_the_model_does_not_know_are_told_once(engine, micro_video):
    answer = engine.ask(micro_video, "is the zeppelin red ?", ["the zeppelin", "a quokka"])
    assert answer.warnings == ("the language model has no word for: zeppelin, quokka",)


@pytest.mark.parametrize(
    ("question", "choices", "words"),
    [
        ("", (), "question: found nothing; expected a question"),
        (" \n", ("red", "blue"), "question: found nothing"),
        (QUESTION, ("red",), "options: found 1; expected at least two. Give --choice TEXT twice or more"),
        (QUESTION, ("red", "red "), "'red' found more than once"),
        (QUESTION, ("red", " "), "options: found an empty one"),
        (QUESTION, tuple(map(str, range(11))), "found 11; expected at most 10"),
    ],
)
def test_wrong_questions_are_refused_before_the_video_is_opened(engine, tmp_path, question, choices, words):
    with pytest.raises(InputError, match=words):
        engine.ask(tmp_path / "none.mp4", question, choices)


def test_a_file_that_is_no_video(engine, tmp_path):
    (tmp_path / "a.mp4").write_text("a text " * 99)
    with pytest.raises(VideoError, match="not a video"):
        engine.caption(tmp_path / "a.mp4")


@pytest.mark.parametrize("missing", ["config.json", "adapter.safetensors"])
def test_a_folder_that_is_no_model(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ArtifactError, match=r"found no config.json with adapter.safetensors; .*topa align --recipe"):
        load(folder)


@pytest.mark.parametrize("text", ["{", "", "[]", '{"format": 1}'])
def test_a_config_that_cannot_be_read(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"config.json: [\w ]+: .*Expected the config of a model"):
        load(folder)


def test_a_config_of_another_format(folder):
    with pytest.raises(ArtifactError, match=r"config.json: format: .*1"):
        load(change(folder, format=2))
    with pytest.raises(ArtifactError, match=r"config.json: colour: .*not permitted"):
        load(change(folder, format=1, colour="red"))


def test_a_damaged_adapter(folder):
    data = (folder / "adapter.safetensors").read_bytes()
    (folder / "adapter.safetensors").write_bytes(data[:-100])
    with pytest.raises(ArtifactError, match=r"adapter.safetensors: can't be read .*align again"):
        load(folder)


def test_an_adapter_that_does_not_fit(folder):
    tensors = load_file(folder / "adapter.safetensors")
    name = next(iter(sorted(tensors)))
    save_file({k: v for k, v in tensors.items() if k != name}, folder / "adapter.safetensors")
    with pytest.raises(ArtifactMismatch, match=f"{name} is missing"):
        load(folder)


def test_a_folder_without_memory(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="expected a finished 'memory' artifact"):
        load(folder)


def test_another_encoder_is_refused(folder, tmp_path):
    clip = save_clip(tmp_path / "other-clip")
    with pytest.raises(ArtifactMismatch, match=r"aligned with clip-\w+; found the encoder other-clip-.*topa align"):
        load(change(folder, encoder=str(clip)))
    identity = Topa.from_pretrained(change(folder, encoder="microworld/clip"), resolve=resolve).encoder.identity
    with pytest.raises(ArtifactMismatch, match=f"aligned with clip-before; found the encoder {identity}.*topa align"):
        load(change(folder, encoder_identity="clip-before"))


def test_a_memory_of_another_encoder_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"encoder": "clip-other"}))
    with pytest.raises(ArtifactMismatch, match=r"a memory of clip-other.*topa align"):
        load(folder)


def test_another_language_model_is_refused(folder, tmp_path):
    llm().save_pretrained(tmp_path / "tiny-llm")
    for file in Path(resolve("microworld/llm")).glob("tokenizer*"):
        shutil.copy(file, tmp_path / "tiny-llm")
    with pytest.raises(ArtifactError, match=r"tiny-llm: has 3 layers of width 32; .*with 6 layers of width 128"):
        load(change(folder, llm=str(tmp_path / "tiny-llm")))


def test_a_language_model_that_is_not_whole(folder, tmp_path):
    copy = shutil.copytree(resolve("microworld/llm"), tmp_path / "llm")
    for file in copy.glob("tokenizer*"):
        file.rename(tmp_path / file.name)
    with pytest.raises(InputError, match=r"tokenizer can't be loaded .*Expected the tokenizer's files"):
        load(change(folder, llm=str(copy)))
    for file in tmp_path.glob("tokenizer*"):
        file.rename(copy / file.name)
    (copy / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"can't be loaded .*Expected the id or the folder of a Hugging Face causal"):
        load(folder)
    with pytest.raises(InputError, match="nowhere: found no such folder"):
        load(change(folder, llm=str(tmp_path / "nowhere")))


def test_what_is_loaded_is_what_was_saved(engine, micro_model):
    kept = load_file(micro_model / "adapter.safetensors")
    found = engine.model.adapter_state_dict()
    assert kept.keys() == found.keys()
    assert all(torch.equal(kept[name], found[name]) for name in kept)
    assert not engine.model.training


def test_of_more_frames_than_it_was_aligned_with_those_are_read_that_stand_for_scenes(engine, micro_video):
    seen = engine.encode_video(micro_video)
    features = seen.features
    numbers = torch.tensor([0] * 8 + [1, 2, 2, 3, 4, 4])
    many = features.take(numbers).resample(15)
    assert (len(many), int(many.valid.sum())) == (15, 14)
    for given in (many, features.take(numbers)):
        inputs = engine.inputs_of_projected(given)
        answer = engine.ask(inputs, QUESTION, ["red", "blue"])
        assert answer.warnings == (f"{len(given)} frames were given and 5 of them read",)
        assert answer.scores == engine.ask(seen, QUESTION, ["red", "blue"]).scores
        assert engine.caption(inputs).text == engine.caption(seen).text


def test_among_many_frames_a_short_scene_is_seen(engine, tmp_path):
    # Scenes of very different lengths: evenly spread frames miss the second and see the first three times.
    pictures = list(render_frames(write_story(random.Random(4)), seed=0))
    lengths = (22, 2, 5, 5, 6)
    middles = [picture for scene, length in enumerate(lengths) for picture in [pictures[8 * scene + 4]] * length]
    path = tmp_path / "uneven.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "20"})
        stream.width, stream.height = middles[0].size
        stream.pix_fmt = "yuv420p"
        for picture in middles:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    ends = torch.tensor(lengths).cumsum(0) / 8

    def scenes(seen):
        return torch.bucketize(seen.features.times.float(), ends, right=True).tolist()

    assert scenes(engine.encode_video(path)) == [0, 0, 0, 2, 4]
    seen = engine.encode_video(path, frame_selection="scenes", candidate_frames=20)
    assert scenes(seen) == [0, 1, 2, 3, 4]
    # Pictures, features and evidence are of the same frames.
    again = engine.encoder.encode_images(seen.images)
    image = replace(seen.features, values=again, space="image")
    torch.testing.assert_close(
        engine.memory.project(image, engine.config.temperature).features.values, seen.features.values
    )
    assert [frame.time for frame in seen.readings] == seen.features.times.tolist()
    assert engine.ask(seen, QUESTION, ["red", "blue"]).warnings == ()
    with pytest.raises(UsageError, match="candidate_frames=4; expected 5 or more"):
        engine.encode_video(path, frame_selection="scenes", candidate_frames=4)


def test_a_model_gets_used_to_a_camera_and_stays_so(folder, micro_video, tmp_path):
    engine = load(folder)
    before = engine.encode_video(micro_video)
    engine.adapt([micro_video] * 30)
    seen = engine.encode_video(micro_video)
    image = replace(before.features, values=engine.encoder.encode_images(before.images), space="image")
    expected = engine.memory.project(engine.shift.move(image), engine.config.temperature).features
    torch.testing.assert_close(seen.features.values, expected.values)
    assert not torch.allclose(seen.features.values, before.features.values, atol=1e-3)
    assert seen.readings != before.readings
    engine.save_pretrained(tmp_path / "used")
    again = load(tmp_path / "used")
    assert torch.equal(again.encode_video(micro_video).features.values, seen.features.values)
    (tmp_path / "used" / "shift.safetensors").unlink()
    with pytest.raises(ArtifactError, match="expected a mean shift"):
        load(tmp_path / "used")


def test_pictures_that_are_read_as_they_are_need_no_getting_used_to(folder, micro_video):
    with pytest.raises(UsageError, match="expected one with a memory"):
        load(change(folder, bridge="raw")).adapt([micro_video] * 30)


def test_a_video_without_frames_is_refused(engine, micro_video):
    seen = engine.encode_video(micro_video)
    none = replace(seen.features, values=seen.features.values * 0, valid=~seen.features.valid)
    with pytest.raises(InputError, match="found no frame in its features"):
        engine.inputs_of_projected(none)


def test_what_does_not_fit_the_window_is_told(engine, micro_video, monkeypatch):
    monkeypatch.setattr(engine.prompter, "window", 60)
    choices = ["red " * 40, "blue"]
    answer = engine.ask(micro_video, QUESTION, choices, protocol="selection")
    assert len(answer.warnings) == 1
    assert answer.warnings[0].endswith("tokens of the options were left out: the language model can't read as many")
    assert answer.options == tuple(c.strip() for c in choices)
    with pytest.raises(InputError, match=r"found .* tokens, expected at most 60"):
        engine.ask(micro_video, QUESTION * 9)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(engine, value):
    question = Question(question=QUESTION, options=("red", "blue"))
    values, valid = torch.zeros(2, 5, engine.config.feature_width), torch.ones(2, 5, dtype=torch.bool)
    values[1, 3, 0] = value
    with pytest.raises(InputError, match=r"videos \[1\]: found features with NaN"):
        score_options(engine.model, engine.prompter, [question, question], values, valid)
    with pytest.raises(InputError, match=r"videos \[0\]: .* no frames"):
        score_options(engine.model, engine.prompter, [question], values[:1], valid[:1] & False)


def test_the_old_name_of_encoding_a_video_still_works_with_a_warning(engine, micro_video):
    with pytest.warns(FutureWarning, match=r"Topa.look is Topa.encode_video now"):
        old = engine.look(micro_video, among=20)
    new = engine.encode_video(micro_video, frame_selection="scenes", candidate_frames=20)
    assert torch.equal(old.values, new.values)
