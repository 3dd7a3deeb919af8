"""The model against vectors of the released algorithm: losses, gradients, token NLL, choices, generated tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from topa.core.errors import ArtifactMismatch, InputError
from topa.memory.projection import project
from topa.models import VideoLanguageModel
from topa.models.meta import adapter_from_release, llama_from_meta, load_legacy, merge_shards

OWN = Path(__file__).parents[1] / "data" / "parity"
FULL = Path(__file__).parents[3] / "shared" / "parity"
VECTORS = FULL if FULL.is_dir() else OWN
MANIFEST = json.loads((VECTORS / "manifest.json").read_text())
FRAMES = 10


@dataclass(frozen=True)
class Case:
    model: VideoLanguageModel
    data: dict[str, Tensor]
    video_start: dict[str, int]
    layers: int
    prompt_length: int

    def is_slot(self, ids: Tensor, layout: str) -> Tensor:
        start = self.video_start[layout]
        at = torch.arange(ids.shape[-1])
        return ((at >= start) & (at < start + FRAMES)).expand(ids.shape)


def shards(folder: Path) -> dict[str, Tensor]:
    return merge_shards([load_legacy(path) for path in sorted(folder.glob("consolidated.*.pth"))])


def trainables(entry: dict[str, Any]) -> dict[str, Tensor]:
    path = VECTORS / entry["trainable"]
    return load_legacy(path)["model"] if path.suffix == ".pth" else load_file(path)


@pytest.fixture(scope="module")
def features() -> dict[str, Tensor]:
    return load_file(VECTORS / "features.safetensors")


@pytest.fixture(scope="module", params=MANIFEST["cases"])
def case(request: pytest.FixtureRequest) -> Case:
    entry = MANIFEST["cases"][request.param]
    backbone = MANIFEST["backbones"][entry["backbone"]]
    path = VECTORS / backbone["weights"]
    # The subset kept with the tests has this one backbone only as shards.
    weights = load_file(path) if path.is_file() else shards(VECTORS / MANIFEST["meta_2shard"]["folder"])
    llm = llama_from_meta(
        weights, backbone["params.json"], rope_theta=entry["rope_theta_effective"], last_layers=entry["adapter_layer"]
    )
    model = VideoLanguageModel(llm, 768, frames=FRAMES, prompt_length=entry["adapter_len"])
    model.load_adapter_state_dict(adapter_from_release(trainables(entry), entry["n_layers"], entry["adapter_len"]))
    data = load_file(VECTORS / entry["data"])
    return Case(model, data, entry["video_start"], entry["n_layers"], entry["adapter_len"])


def test_training_losses_and_gradients(case: Case, features: dict[str, Tensor]) -> None:
    case.model.zero_grad()
    for task in ("vqa", "caption"):
        ids, labels = case.data[f"train.{task}.ids"], case.data[f"train.{task}.labels"]
        rows, columns = labels[:, 1:].nonzero(as_tuple=True)  # 0 is the released ignore index
        logits = case.model(
            ids, frames=features["video_train"], is_slot=case.is_slot(ids, task), positions=(rows, columns)
        )
        loss = functional.cross_entropy(logits, labels[rows, columns + 1])
        assert loss.item() == pytest.approx(case.data[f"train.{task}.loss"].item(), abs=1e-5)
        loss.backward()
    gradients = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    expected = {name[5:]: tensor for name, tensor in case.data.items() if name.startswith("grad.")}
    # Gates of layers that never ran have no gradient; the conversion asks for them and leaves them out.
    gates = {f"layers.{i}.attention.gate{j}": torch.zeros(1) for i in range(case.layers) for j in (1, 2)}
    expected = adapter_from_release(gates | expected, case.layers, case.prompt_length)
    assert set(expected) == set(gradients)
    for name, gradient in expected.items():
        error = (gradients[name] - gradient).abs().max() / gradient.abs().max()
        assert error < 5e-5, name


@pytest.mark.parametrize("memory", ["nomemory", "memory"])
@pytest.mark.parametrize("layout", ["mc", "open"])
def test_option_scores(case: Case, features: dict[str, Tensor], layout: str, memory: str) -> None:
    frames = features["video_eval"]
    if memory == "memory":
        frames = project(frames, features["memory"])  # padding too, as the released code does
    ids, labels = case.data[f"eval.{layout}.ids"], case.data[f"eval.{layout}.labels"]
    expected = case.data[f"eval.{layout}.{memory}.token_nll"]
    batch, options, length = ids.shape
    target = labels[:, :, 1:]

    is_slot = case.is_slot(ids.flatten(0, 1), layout)
    with torch.no_grad():
        logits = case.model(ids.flatten(0, 1), frames=frames.repeat_interleave(options, 0), is_slot=is_slot)
    full = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), target.flatten(), ignore_index=0, reduction="none"
    ).view(batch, options, length - 1)
    torch.testing.assert_close(full, expected, atol=1e-4, rtol=0)

    # The same through one shared prefix, which every option of every row has in common.
    cut = int((ids == ids[:, :1]).all(dim=1).all(dim=0).long().cumprod(0).sum())
    cut = min(cut, int(labels.ne(0).long().argmax(dim=-1).min()))
    assert cut > case.video_start[layout] + FRAMES
    prefix = ids[:, 0, :cut]
    context = case.model.prefill(prefix, frames=frames, is_slot=case.is_slot(prefix, layout))
    shared = case.model.suffix_nll(context, ids[:, :, cut:]) * labels[:, :, cut:].ne(0)
    torch.testing.assert_close(shared, expected[:, :, cut - 1 :], atol=1e-4, rtol=0)

    count = shared.ne(0).sum(-1)
    assert torch.equal(count, case.data[f"eval.{layout}.{memory}.count"])
    assert torch.equal((shared.sum(-1) / count).argmin(-1), case.data[f"eval.{layout}.{memory}.pred"])


@pytest.mark.parametrize("memory", ["nomemory", "memory"])
def test_generated_tokens(case: Case, features: dict[str, Tensor], memory: str) -> None:
    first, second = case.data["decode.prompt1"], case.data["decode.prompt2"]
    ids = torch.cat([first, first.new_zeros(FRAMES), second])[None]
    frames = functional.normalize(features["video_decode"], dim=-1)[None]
    if memory == "memory":
        frames = project(frames, features["memory"])
    context = case.model.prefill(ids, frames=frames, is_slot=case.is_slot(ids, "decode"))
    key = f"decode.{memory}"
    torch.testing.assert_close(context.next_logits[0], case.data[f"{key}.first_logits"], atol=1e-4, rtol=0)
    assert case.model.greedy(context, 10) == [case.data[f"{key}.generated"].tolist()]
    banned = case.data[f"{key}.banned_ids"].tolist()
    assert case.model.greedy(context, 10, banned=banned) == [case.data[f"{key}.generated_banned"].tolist()]


def test_shards_merge_into_the_same_model() -> None:
    params = MANIFEST["backbones"]["llama2_v1200"]["params.json"] | {"vocab_size": -1}
    merged = shards(VECTORS / "meta_2shard")
    assert "rope.freqs" in merged
    model = llama_from_meta(merged, params)
    path = VECTORS / MANIFEST["backbones"]["llama2_v1200"]["weights"]
    if path.is_file():
        whole = llama_from_meta(load_file(path), params).state_dict()
        assert whole.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, whole[name]), name
    assert model.config.vocab_size == 1200


def test_bad_weights_are_refused(tmp_path: Path) -> None:
    params = MANIFEST["backbones"]["llama2_v1200"]["params.json"]
    merged = shards(VECTORS / "meta_2shard")
    with pytest.raises(ArtifactMismatch, match=r"missing \['model.norm.weight'\]"):
        llama_from_meta({name: t for name, t in merged.items() if name != "norm.weight"}, params)
    with pytest.raises(ArtifactMismatch, match="lora"):
        llama_from_meta(merged | {"layers.0.lora.weight": torch.zeros(1)}, params)
    with pytest.raises(ArtifactMismatch, match="all shards"):
        merge_shards([merged, {"norm.weight": torch.zeros(1)}])
    released = trainables(MANIFEST["cases"]["llama2_v1200"])
    with pytest.raises(ArtifactMismatch, match="unexpected"):
        adapter_from_release(released | {"extra": torch.zeros(1)}, 2, 5)
    with pytest.raises(ArtifactMismatch, match="temporal_emb"):
        adapter_from_release({n: t for n, t in released.items() if n != "temporal_emb.weight"}, 2, 5)
    torch.save({"model": Path("x")}, tmp_path / "hostile.pth")
    with pytest.raises(InputError, match=r"hostile\.pth"):
        load_legacy(tmp_path / "hostile.pth")
