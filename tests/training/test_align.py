"""All stages of pre-alignment together: what they leave behind, and what they refuse to mix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from features.naive import encode_tideos
from features.towers import save_clip
from topa import Topa
from topa.core.artifacts import RECORD, read_manifest
from topa.core.embedded import resolve
from topa.core.errors import ArtifactMismatch, InputError, UsageError
from topa.features.encoder import Encoder
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.memory.bank import MemoryBank
from topa.microworld.writer import write_tideos
from topa.tideos.jsonl import read_jsonl, write_jsonl
from topa.tideos.tideo import TextFrame
from topa.training import align as alignment
from topa.training.align import HELD_OUT_SEED, align
from topa.training.config import AlignConfig, read_recipe, recipes
from topa.training.loop import Watch
from topa.training.pretrained import load
from topa.training.validation import HeldOut

QUIET = Watch(show=False)
TINY = ("microworld_tideos=60", "epochs=1", "validation=10")


def config(*settings: str) -> AlignConfig:
    return read_recipe("microworld", [*TINY, *settings])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the record of the folder's files, which holds times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def read(path: Path) -> tuple:
    return tuple(read_jsonl(path))


def never(*_, **__):
    raise AssertionError("this was done before")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.from_pretrained(resolve("microworld/clip"))


@pytest.fixture
def tideos(tmp_path: Path) -> Path:
    write_jsonl(write_tideos(30, 3), tmp_path / "own.jsonl")
    return tmp_path / "own.jsonl"


def test_what_a_run_leaves(micro_model):
    found = contents(micro_model)
    for name in ("adapter.safetensors", "metrics.jsonl", "config.json", "README.md", "memory.safetensors", "run.json"):
        assert found[name], name
    told = json.loads(found["config.json"])
    assert (told["llm"], told["encoder"], told["frames"]) == ("microworld/llm", "microworld/clip", 5)
    steps = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    assert [row["step"] for row in steps if "loss" in row] == [1, 2]
    assert 0 <= steps[-1]["held_out"]["accuracy"] <= 1
    assert all((micro_model / name).stat().st_mode & 0o044 for name in ("adapter.safetensors", "config.json"))


def test_the_card_tells_how_it_was_made(micro_model):
    card = (micro_model / "README.md").read_text()
    assert "base_model: microworld/llm" in card
    assert "60 Tideos; steps 2, " in card
    assert "keep their own licences" in card
    settings = json.loads(card.split("```json")[1].split("```")[0])
    assert AlignConfig(**settings) == config().model_copy(update={"expected_tideos": None})


def test_a_finished_run_is_left_as_it_is(micro_model, monkeypatch):
    before = contents(micro_model)
    monkeypatch.setattr(alignment, "encode", never)
    monkeypatch.setattr("topa.training.loop.compute_loss", never)
    align(config(), micro_model, watch=QUIET)
    assert contents(micro_model) == before


def test_the_same_command_elsewhere_gives_the_same_bytes(micro_model, tmp_path):
    align(config(), tmp_path / "again", watch=QUIET)
    for name in ("adapter.safetensors", "memory.safetensors", "captions.safetensors", "tideos.jsonl", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (micro_model / name).read_bytes(), name


def test_training_moved_every_part_of_the_adapter(micro_model, tmp_path):
    """Other seeds aside, two epochs are not one: nothing trainable stands still."""
    align(config("epochs=2"), tmp_path / "two", watch=QUIET)
    one, two = (load_file(folder / "adapter.safetensors") for folder in (micro_model, tmp_path / "two"))
    assert not [name for name in one if torch.equal(one[name], two[name])]


def test_the_memory_is_made_of_training_frames_only(micro_model):
    memory = MemoryBank.load(micro_model)
    training = [f.caption for t in read(micro_model / "tideos.jsonl")[:60] for f in t.frames]
    assert sorted(memory.captions) == sorted(training)
    held_out = {f.caption for t in write_tideos(10, HELD_OUT_SEED) for f in t.frames}
    assert held_out - set(training)
    assert not set(memory.captions) & (held_out - set(training))
    # The held-out Tideos were encoded, and with the same store: they could have slipped in.
    assert len(FeatureStore.open(micro_model / "features")) == 70


def test_a_small_memory_is_a_sample(tmp_path):
    align(config("memory_rows=25"), tmp_path, watch=QUIET)
    assert read_manifest(tmp_path, "memory", verify=True).counts == {"rows": 25}
    assert len(load(tmp_path).memory) == 25


def test_own_tideos_and_features_that_are_kept(tmp_path, tideos, monkeypatch):
    settings, features = config("validation=3"), tmp_path / "features"
    align(settings, tmp_path / "a", tideos=tideos, features=features, watch=QUIET)
    memory = MemoryBank.load(tmp_path / "a")
    told = read(tideos)
    assert sorted(memory.captions) == sorted(f.caption for t in told[:27] for f in t.frames)
    assert not (tmp_path / "a" / "features").exists()
    monkeypatch.setattr(alignment, "encode", never)
    align(settings, tmp_path / "b", tideos=tideos, features=features, watch=QUIET)
    assert (tmp_path / "a/adapter.safetensors").read_bytes() == (tmp_path / "b/adapter.safetensors").read_bytes()


def test_tideos_without_questions_train_as_well(tmp_path):
    bare = [t.model_copy(update={"questions": ()}) for t in write_tideos(20, 3)]
    write_jsonl(bare, tmp_path / "bare.jsonl")
    result = align(config(), tmp_path / "out", tideos=tmp_path / "bare.jsonl", watch=QUIET)
    assert result.accuracy is None
    assert "held-out Tideos not measured" in (tmp_path / "out" / "README.md").read_text()


def test_a_features_folder_with_other_things_keeps_them(tmp_path, tideos):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    align(config("validation=3"), tmp_path / "out", tideos=tideos, features=tmp_path / "mine", watch=QUIET)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_features_of_something_else_are_refused(tmp_path, tideos, encoder):
    told = list(read(tideos))
    features = tmp_path / "features"

    def made(of: list, fusion: str = "caption", **parents: str) -> None:
        encode_tideos(of, encoder, features, fusion=fusion, parents=parents)

    def refused(words: str) -> None:
        with pytest.raises(ArtifactMismatch, match=words):
            align(config(), tmp_path / "out", tideos=tideos, features=features, watch=QUIET)
        assert not (tmp_path / "out" / "config.json").exists()

    made(told[:-1])
    refused(f"has no features for 1 Tideos .{told[-1].id}.*Encode them again")
    cut = [told[0].model_copy(update={"frames": told[0].frames[:-1]}), *told[1:]]
    made(cut)
    refused(f"of other texts .{told[0].id} has another number of frames.*Encode them again")
    made(told, fusion="mean")
    refused("of fusion 'mean'; expected 'caption'.*--set fusion=mean")
    made([t.model_copy(update={"frames": t.frames[::-1]}) for t in told])
    refused(f"of other texts .those of {told[0].id} differ.*Encode them again")
    made(told)
    align(config(), tmp_path / "out", tideos=tideos, features=features, watch=QUIET)


def test_changed_captions_are_encoded_again_or_refused(tmp_path, tideos):
    align(config(), tmp_path / "a", tideos=tideos, features=tmp_path / "features", watch=QUIET)
    told = list(read(tideos))
    other = TextFrame(caption="a small red ball")
    write_jsonl([told[0].model_copy(update={"frames": (other, *told[0].frames[1:])}), *told[1:]], tideos)
    with pytest.raises(ArtifactMismatch, match="made of other texts"):
        align(config(), tmp_path / "b", tideos=tideos, features=tmp_path / "features", watch=QUIET)


def test_features_serve_other_questions_and_parts_of_the_texts(tmp_path, tideos, capsys):
    """Tideos that were cleaned after they were encoded, or a part of them: the features are still theirs."""
    align(config(), tmp_path / "a", tideos=tideos, features=tmp_path / "features", watch=QUIET)
    part = [t.model_copy(update={"questions": t.questions[:1]}) for t in read(tideos)[5:]]
    write_jsonl(part, tmp_path / "part.jsonl")
    align(config(), tmp_path / "b", tideos=tmp_path / "part.jsonl", features=tmp_path / "features", watch=QUIET)
    assert "the features of 25 Tideos fit these texts" in " ".join(capsys.readouterr().err.split())


def test_a_set_of_topa_generate_is_taken_as_it_is(tmp_path, tideos):
    align(config(), tmp_path / "a", tideos=tideos, watch=QUIET)
    align(config(), tmp_path / "b", tideos=tideos.rename(tmp_path / "tideos.jsonl").parent, watch=QUIET)
    a, b = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in "ab")
    assert a == b


def test_the_best_adapter_is_a_model_too(tmp_path, monkeypatch):
    """Here the first of two epochs is best."""
    found, kept = iter([HeldOut(1.0, 0.9, None, 1, 0), HeldOut(1.0, 0.1, None, 1, 0)]), []

    def validate(model, *_):
        kept.append({name: value.clone() for name, value in model.adapter_state_dict().items()})
        return next(found)

    monkeypatch.setattr("topa.training.loop.validate", validate)
    align(config("epochs=2"), tmp_path, watch=QUIET)
    for folder, expected in ((tmp_path / "best", kept[0]), (tmp_path, kept[1])):
        state = load(folder).model.adapter_state_dict()
        assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert (tmp_path / "best" / "memory.safetensors").samefile(tmp_path / "memory.safetensors")


def test_features_of_another_encoder_or_space_are_refused(tmp_path, tideos, encoder):
    other = Encoder.from_pretrained(save_clip(tmp_path / "other-clip"))
    encode_tideos(read(tideos), other, tmp_path / "features")
    with pytest.raises(ArtifactMismatch, match=f"made by other-clip-.*expected {encoder.identity}.*topa encode"):
        align(config(), tmp_path / "out", tideos=tideos, features=tmp_path / "features", watch=QUIET)
    FeatureStoreWriter(tmp_path / "images", encoder.identity, encoder.width, "image").close()
    with pytest.raises(ArtifactMismatch, match="holds features of image space; expected text space"):
        align(config(), tmp_path / "out", tideos=tideos, features=tmp_path / "images", watch=QUIET)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "found no JSON object with an id"),
        ("", "found no JSON object with an id"),
        ('{"id": "a", "frames": [], "description": "b"}', "frames: "),
        ('{"id": "a", "frames": [{"caption": " "}], "description": "b"}', "frames.0.caption: "),
        ('{"id": "a", "frames": [{"caption": "c"}], "description": "b", "colour": 1}', "colour: "),
        ('{"id": "a", "frames": [{"caption": "c"}]}', "description: Field required"),
    ],
)
def test_a_broken_line_is_named(tmp_path, tideos, line, words):
    lines = tideos.read_text().splitlines()
    tideos.write_text("\n".join([*lines[:4], line, *lines[5:]]) + "\n")
    with pytest.raises(InputError, match=f"own.jsonl:5: {words}.*Mend or remove the line"):
        align(config(), tmp_path / "out", tideos=tideos, watch=QUIET)


def test_files_without_tideos(tmp_path, tideos):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match="found no Tideos; expected one JSON object a line"):
        read(tmp_path / "empty.jsonl")
    for path in (tmp_path / "bytes.jsonl", tmp_path / "gone.jsonl", tmp_path):
        with pytest.raises(InputError, match=r"can't be read .*Expected Tideos as JSON Lines"):
            read(path)
    tideos.write_text(tideos.read_text() * 2)
    with pytest.raises(InputError, match=r"own.jsonl:31: found the id .* again, which is in line 1"):
        align(config(), tmp_path / "out", tideos=tideos, watch=QUIET)


def test_a_recipe_that_writes_nothing_needs_tideos(tmp_path):
    with pytest.raises(UsageError, match="found no Tideos; expected --tideos FILE"):
        align(config("microworld_tideos=0"), tmp_path, watch=QUIET)


def test_tideos_survive_being_written(tmp_path):
    told = tuple(write_tideos(5, 1))
    write_jsonl(told, tmp_path / "a.jsonl")
    assert read(tmp_path / "a.jsonl") == told


def test_lora_goes_the_same_way(tmp_path, micro_video):
    """Aligned, checkpointed, saved, loaded and asked like prompts."""
    settings = ["microworld_tideos=40", "epochs=1", "validation=5", "adapter=lora", "lora_rank=2"]
    align(read_recipe("microworld", settings), tmp_path / "run", watch=QUIET)
    engine = Topa.from_pretrained(tmp_path / "run", resolve=resolve)
    assert (engine.config.adapter, engine.config.lora_rank) == ("lora", 2)
    kept = load_file(tmp_path / "run" / "adapter.safetensors")
    updates = [name for name in kept if name.endswith("lora_B.default.weight")]
    assert len(updates) == 6 * 7
    assert all(kept[name].any() for name in updates)
    assert not any("base_layer" in name or name.startswith("prompts") for name in kept)
    found = engine.model.adapter_state_dict()
    assert found.keys() == kept.keys()
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    assert engine.ask(micro_video, "what colour is the toy at the end ?", ["red", "blue"]).choice in (0, 1)
    checkpoint = next((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert {f"model.{name}" for name in kept} <= load_file(checkpoint / "state.safetensors").keys()


def test_tideos_need_a_recipe(topa, tmp_path):
    """Whose models are trained on them is for the user to say; no toys are, without a word."""
    write_jsonl(write_tideos(8, 3), tmp_path / "my own.jsonl")
    done = topa("align", "--tideos", tmp_path / "my own.jsonl", "--out", tmp_path / "out")
    assert (done.code, done.out, (tmp_path / "out").exists()) == (2, "", False)
    assert (
        "llama2-7b (meta-llama/Llama-2-7b-hf with openai/clip-vit-large-patch14, made for 721,000 Tideos)" in done.err
    )
    assert all(f"{name} (" in done.err for name in recipes())
    assert f"topa align --recipe RECIPE --tideos '{tmp_path / 'my own.jsonl'}' --out {tmp_path / 'out'}" in done.err


def test_few_tideos_for_a_recipe_are_told(topa, tmp_path):
    write_jsonl(write_tideos(40, 3), tmp_path / "own.jsonl")
    words = ("align", "--recipe", "microworld", "--tideos", tmp_path / "own.jsonl", "--out", tmp_path / "out")
    done = topa(*words, "--set", "epochs=1", "--dry-run")
    assert done.code == 0
    assert "40 Tideos, of 3,000 that the recipe was made for: 2 steps in place of 94" in done.err
    assert "topa generate --seeds SEEDS --base-url URL --model NAME --out tideos" in done.err
    assert "microworld/llm is a toy" in done.err
    enough = topa(*words, "--set", "expected_tideos=80", "--dry-run")
    assert "the recipe was made for" not in enough.err


def test_what_a_recipe_was_made_for_is_in_no_artifact():
    """So a run that an older version began goes on."""
    assert "expected_tideos" not in read_recipe("microworld").model_dump(mode="json")
    assert "expected_tideos" not in read_recipe("microworld").model_dump_json()
    assert all(read_recipe(name).expected_tideos for name in recipes())
