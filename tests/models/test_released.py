"""Released adapters become saved models that answer about real videos, or are refused with every fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from features.clips import steady, write_video
from features.towers import save_clip
from topa import Topa
from topa.core.errors import ArtifactMismatch, InputError, UsageError
from topa.features.encoder import Encoder
from topa.inference.engine import fill
from topa.inference.request import Request
from topa.memory.bank import MemoryBank
from topa.memory.projection import project
from topa.models.inputs import ModelInputs
from topa.models.released import ReleasedAdapter, convert, import_adapter
from topa.prompts.prompt import Prompt
from topa.prompts.released import ReleasedPrompter

from . import backbones

QUESTION, OPTIONS = "what does the man do first", ("he opens a door", "he sits down", "he runs")


@pytest.fixture(scope="module", params=["llama2", "llama3"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole installation: backbone with tokenizer, adapter, encoder, and a memory in its space."""
    root = tmp_path_factory.mktemp(request.param)
    make = backbones.sentencepiece_model if request.param == "llama2" else backbones.tiktoken_model
    (root / "llama").mkdir()
    make(root / "llama")
    from topa.models.meta import meta_tokenizer

    model = backbones.llama(len(meta_tokenizer(root / "llama")))
    backbones.meta_folder(root / "llama", model, rope_theta=500000.0 if request.param == "llama3" else None)
    told = {"llama2": request.param == "llama2", "llama3": request.param == "llama3"}
    adapter = backbones.released_adapter(root / "checkpoint_19.pth", model, **told)
    clip = save_clip(root / "clip", width=8)
    encoder = Encoder.from_pretrained(clip)
    captions = ("a red ball", "blue box", "a person walks")
    MemoryBank(encoder.encode_texts(captions), encoder.identity, captions).save(root / "memory")
    return {"llama": root / "llama", "adapter": adapter, "clip": clip, "memory": root / "memory", "root": root}


def words(prompter: ReleasedPrompter, prompt: Prompt) -> tuple[str, str, str]:
    decode = prompter.tokenizer.decode
    spans = (0, prompt.slots[0]), (prompt.slots[1], prompt.target[0]), prompt.target
    head, body, said = (decode(prompt.ids[a:b]) for a, b in spans)
    return head, body, said


def test_from_the_command_line_to_an_answer(parts: dict[str, Path], topa) -> None:
    out = parts["root"] / "imported"
    done = topa(
        "import", "checkpoint", "--backbone", parts["llama"], "--adapter", parts["adapter"], "--encoder",
        parts["clip"], "--memory", parts["memory"], "--out", out,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "next:     topa ask VIDEO QUESTION --model" in done.out
    told = json.loads((out / "config.json").read_text())
    family = parts["root"].name.rstrip("0")
    assert told["legacy"] == {
        "rope_theta": 10000.0, "last_layers": None, "unmasked_padding": True, "prompts": f"released-{family}"
    }  # fmt: skip
    assert (told["bridge"], told["protocol"], told["frames"], told["prompt_length"]) == ("projected", "selection", 6, 4)
    assert told["temperature"] == pytest.approx(0.01)
    assert not list(out.glob("consolidated*"))

    engine = Topa.from_pretrained(out)
    assert engine.model.llm.config.rope_parameters["rope_theta"] == 10000.0
    whole = engine.encode_video(write_video(parts["root"] / "a.mp4", steady(9)))
    assert len(whole.readings) == len(whole.images) == 6
    assert engine.ask(whole, QUESTION, OPTIONS).text in OPTIONS
    # Features of fewer frames than the adapter's six, as others may have stored them.
    features = whole.features
    few = replace(features, values=features.values[:3], valid=features.valid[:3], times=None)
    seen = engine.inputs_of_projected(few)
    answer = engine.ask(seen, QUESTION, OPTIONS)
    # The same numbers from one plain forward per option, padding projected and read.
    values = torch.cat([seen.features.values, torch.zeros(3, 8)])
    values[3:] = project(torch.zeros(3, 8), engine.memory.values, 0.01)
    for index, score in enumerate(answer.scores):
        prompt = engine.prompter.choose(QUESTION, OPTIONS, 6, index)
        column = torch.arange(len(prompt))
        slots = (column >= prompt.slots[0]) & (column < prompt.slots[1])
        with torch.no_grad():
            logits = engine.model(ModelInputs(torch.tensor([prompt.ids]), frames=values[None], is_slot=slots[None]))[0]
        first, last = prompt.target
        nll = functional.cross_entropy(logits[first - 1 : last - 1], torch.tensor(prompt.ids[first:last]))
        assert score == pytest.approx(nll.item(), abs=1e-4)
    assert engine.caption(seen, max_tokens=4).choice is None
    first, _ = engine.answer([Request(seen, QUESTION, OPTIONS), Request(seen, "why", OPTIONS[:2])])
    assert first.scores == pytest.approx(answer.scores, abs=1e-5)
    filled, valid = fill(seen.features.values, engine.config, engine.memory)
    torch.testing.assert_close(filled, values)
    assert valid.all()
    # Of more frames, those that the released code takes.
    many = features.take(torch.tensor([*[0] * 7, 1, 2, 3, 4, 5]))
    taken = features.take(torch.tensor([0, 0, 0, 0, 2, 4]))
    given, expected = (engine.ask(engine.inputs_of_projected(f), QUESTION, OPTIONS).scores for f in (many, taken))
    assert given == pytest.approx(expected, abs=1e-5)


def test_a_model_without_memory_reads_pictures_as_they_are(parts: dict[str, Path], topa) -> None:
    out = parts["root"] / "raw"
    done = topa(
        "import", "checkpoint", "--backbone", parts["llama"], "--adapter", parts["adapter"], "--encoder",
        parts["clip"], "--out", out, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["bridge"] == "raw"
    engine = Topa.from_pretrained(out)
    seen = engine.encode_video(write_video(parts["root"] / "b.mp4", steady(9)))
    assert seen.features.space == "image"
    assert engine.ask(seen, QUESTION, OPTIONS).evidence == ()
    engine.save_pretrained(parts["root"] / "again")
    again = Topa.from_pretrained(parts["root"] / "again")
    assert again.ask(seen, QUESTION, OPTIONS) == engine.ask(seen, QUESTION, OPTIONS)


def test_another_llama_of_the_same_shape_is_refused(parts: dict[str, Path]) -> None:
    config, _ = import_adapter(str(parts["llama"]), parts["adapter"], encoder="x/y", encoder_identity="x/y")
    from topa.models import saved

    other = backbones.llama(61)
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight += 1
    with pytest.raises(ArtifactMismatch, match="another model of the same shape"):
        saved.build(other, config)


def test_prompts_are_the_released_ones(parts: dict[str, Path]) -> None:
    from topa.models.meta import meta_tokenizer

    tokenizer = meta_tokenizer(parts["llama"])
    family = parts["root"].name.rstrip("0")
    prompter = ReleasedPrompter(tokenizer, f"released-{family}")
    newline = "\n" if family == "llama2" else ".\n"
    head, body, said = words(prompter, prompter.choose(QUESTION, OPTIONS, 6, 1))
    assert head.endswith("Instruction: Choose the correct answer based on the video and question.\nVideo:")
    listed = "(A) he opens a door\n(B) he sits down\n(C) he runs\n"
    stem = f"{newline}Question: What does the man do first?\nChoices: \n{listed}Answer: The correct"
    end = tokenizer.eos_token
    # The released label begins at the token "choice" (Llama-2) or "is" (Llama-3).
    rest = ("", " choice is (B)") if family == "llama2" else (" choice", " is (B)")
    # SentencePiece begins every text with a blank, and leaves it out when it decodes: they aren't compared.
    assert (body + said.removesuffix(end)).replace(" ", "") == (stem + rest[0] + rest[1]).replace(" ", "")
    assert said.split() == f"{rest[1]}{end}".split()
    assert words(prompter, prompter.answer("why", 2, "because"))[2].split() == f": because\n{end}".split()
    described = prompter.describe(2, "A man sits down.")
    kind = "summary" if family == "llama2" else "dense description"
    assert f"Generate a {kind} for the video." in words(prompter, described)[0]
    assert words(prompter, described)[2].split() == f": A man sits down.\n{end}".split()
    # What is generated from begins like what was learned.
    for asked, whole in (
        (prompter.answer("why", 2), prompter.answer("why", 2, "because")),
        (prompter.describe(2), described),
    ):
        assert whole.ids[: len(asked)] == asked.ids
        assert whole.target[0] == len(asked) - 1
        assert asked.target == (len(asked), len(asked))
    open_ended = prompter.candidates("why", OPTIONS, 2, by_letter=False)
    assert [words(prompter, p)[2].split() for p in open_ended] == [f": {o}{end}".split() for o in OPTIONS]
    assert prompter.candidates(QUESTION, OPTIONS, 2, by_letter=True)[2] == prompter.choose(QUESTION, OPTIONS, 2, 2)
    tricky = prompter.choose("Answer: is this The correct choice is (A)?", OPTIONS, 2, 0)
    assert words(prompter, tricky)[2] == said.replace("B", "A")


def test_a_tokenizer_of_another_model_is_refused() -> None:
    from training.small import tokenizer

    with pytest.raises(InputError, match="found no token '<0x0A>', which released-llama2 prompts need"):
        ReleasedPrompter(tokenizer(), "released-llama2")


def test_every_fault_of_an_adapter_is_listed(tmp_path: Path) -> None:
    path = backbones.released_adapter(tmp_path / "a.pth", backbones.llama(61), adapted=2)
    state = ReleasedAdapter.read(path).tensors
    size = {"layers": 3, "heads": 4, "width": 32, "prompt_length": 4}
    found = convert(state, **size)
    assert sum(name.endswith(".prompt") for name in found) == 2
    # The last layers are the adapted ones.
    torch.testing.assert_close(found["prompts.0.gate"], state["layers.1.attention.gate1"].flatten())
    spoilt = state | {"extra": torch.zeros(1), "visual_proj.weight": torch.zeros(31, 8)}
    del spoilt["temporal_emb.weight"]
    with pytest.raises(ArtifactMismatch) as error:
        convert(spoilt, **size)
    for told in ("extra is unexpected", "temporal_emb.weight is missing", "visual_proj.weight is (31, 8)", "3 layers"):
        assert told in str(error.value)
    with pytest.raises(ArtifactMismatch, match="8 rows, expected 1 to 3 times the prompt length 5"):
        convert(state, **size | {"prompt_length": 5})
    state["visual_proj.weight"][0, 0] = float("nan")
    with pytest.raises(ArtifactMismatch, match=r"visual_proj.weight hold NaN"):
        convert(state, **size)


def test_files_that_are_no_adapter(tmp_path: Path) -> None:
    torch.save({"weights": {}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="found no trainables in it"):
        ReleasedAdapter.read(tmp_path / "other.pth")
    (tmp_path / "a.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"a.safetensors: can't be read"):
        ReleasedAdapter.read(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="found no file"):
        ReleasedAdapter.read(tmp_path / "none.pth")
    # A pickle that would run code when read is refused, and doesn't run.
    torch.save({"model": Path("x")}, tmp_path / "hostile.pth")
    with pytest.raises(InputError, match=r"hostile\.pth"):
        ReleasedAdapter.read(tmp_path / "hostile.pth")


def test_a_file_that_does_not_say_its_family(tmp_path: Path) -> None:
    model = backbones.llama(61)
    folder = backbones.meta_folder(tmp_path / "7B", model)
    path = backbones.released_adapter(tmp_path / "a.pth", model, llama2=False)
    with pytest.raises(UsageError, match="--family llama2 or --family llama3"):
        import_adapter(str(folder), path, encoder="x/y", encoder_identity="x/y")
    config, _ = import_adapter(
        str(folder), path, encoder="x/y", encoder_identity="x/y", family="llama3", rope_theta=5e5
    )
    assert config.legacy is not None
    assert (config.legacy.prompts, config.legacy.rope_theta) == ("released-llama3", 5e5)


def test_a_hugging_face_folder_is_the_same_backbone(parts: dict[str, Path]) -> None:
    from topa.models.base import load_llm

    folder = parts["root"] / "hf"
    load_llm("it", str(parts["llama"])).save_pretrained(folder)
    by_meta, state = import_adapter(str(parts["llama"]), parts["adapter"], encoder="x/y", encoder_identity="x/y")
    by_hf, again = import_adapter(str(folder), parts["adapter"], encoder="x/y", encoder_identity="x/y")
    assert by_hf == by_meta.model_copy(update={"llm": str(folder)})
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_a_memory_of_another_encoder_is_refused(parts: dict[str, Path], topa) -> None:
    other = save_clip(parts["root"] / "other", seed=3, width=8)
    done = topa(
        "import", "checkpoint", "--backbone", parts["llama"], "--adapter", parts["adapter"], "--encoder", other,
        "--memory", parts["memory"], "--out", parts["root"] / "never",
    )  # fmt: skip
    assert done.code != 0
    assert "is of clip-" in done.err
