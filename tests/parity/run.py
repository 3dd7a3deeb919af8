"""The model against vectors of the released algorithm: `python tests/parity/run.py DIR`.

DIR is laid out like tests/data/parity: manifest.json, backbones in Meta's naming, released trainables, six cases. One
JSON line per case and quantity: {"case", "quantity", "error", "limit", "pass"}; exit code 1 if any fails. Everything
goes through what users call: the importer, the saved model, the model, the training loss, option scoring, generation.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from topa.inference.scorer import nll_of_targets, read
from topa.memory.projection import project
from topa.models import VideoLanguageModel, saved
from topa.models.base import load_llm
from topa.models.released import convert, import_adapter
from topa.prompts.prompt import Prompt
from topa.training.data import collate
from topa.training.reading import compute_loss

LOSS, NLL, GRADIENT = 1e-5, 1e-4, 5e-5
STEPS = 10


@dataclass(frozen=True)
class Line:
    case: str
    quantity: str
    error: float
    limit: float

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "pass": self.error <= self.limit})


@dataclass(frozen=True)
class Case:
    """A case, imported and loaded as a user would."""

    name: str
    entry: dict[str, Any]
    shape: dict[str, int]
    model: VideoLanguageModel
    data: dict[str, Tensor]
    features: dict[str, Tensor]

    @property
    def frames(self) -> int:
        return int(self.entry["max_feats"])

    def prompts(self, ids: Tensor, labels: Tensor, layout: str) -> list[Prompt]:
        """Rows of ids [N, S] as prompts: slots by the manifest, targets by the labels, padding cut off."""
        start = int(self.entry["video_start"][layout])
        made = []
        for row, label in zip(ids.tolist(), labels, strict=True):
            at = label.nonzero().flatten()
            first, last = int(at[0]), int(at[-1]) + 1
            made.append(Prompt(tuple(row[:last]), (start, start + self.frames), (first, last)))
        return made

    def seen(self, key: str, memory: str) -> tuple[Tensor, Tensor]:
        """Features as the released code gives them to the model: padding is projected and read."""
        frames = self.features[key]
        if memory == "memory":
            frames = project(frames, self.features["memory"])
        return frames, torch.ones(frames.shape[:-1], dtype=torch.bool)


def load_cases(folder: Path, scratch: Path) -> Iterator[Case]:
    manifest = json.loads((folder / "manifest.json").read_text())
    features = load_file(folder / "features.safetensors")
    for name, entry in manifest["cases"].items():
        backbone = manifest["backbones"][entry["backbone"]]
        meta = _meta_folder(folder, manifest, entry["backbone"], scratch)
        config, state = import_adapter(
            str(meta),
            folder / entry["trainable"],
            encoder="openai/clip-vit-large-patch14",
            encoder_identity="openai/clip-vit-large-patch14",
            family=backbone["family"],
            prompt_length=entry["adapter_len"],
            rope_theta=entry["rope_theta_effective"],
        )
        out = scratch / name
        saved.save(out, config, state, "parity")
        config = saved.read_config(out)
        model = saved.build(load_llm(config.llm, config.llm, legacy=config.legacy), config)
        model.load_adapter_state_dict(saved.read_adapter(out))
        params = backbone["params.json"]
        shape = {"layers": params["n_layers"], "heads": params["n_heads"], "width": params["dim"]}
        yield Case(name, entry, shape, model, load_file(folder / entry["data"]), features)


def _meta_folder(folder: Path, manifest: dict[str, Any], name: str, scratch: Path) -> Path:
    """A backbone as Meta publishes it: params.json and consolidated.NN.pth."""
    backbone = manifest["backbones"][name]
    two_shards = manifest.get("meta_2shard", {})
    if two_shards.get("equals_backbone") == name:
        return folder / two_shards["folder"]
    made = scratch / "backbones" / name
    if not made.is_dir():
        made.mkdir(parents=True)
        (made / "params.json").write_text(json.dumps(backbone["params.json"]))
        torch.save(load_file(folder / backbone["weights"]), made / "consolidated.00.pth")
    return made


def check_training(case: Case) -> Iterator[Line]:
    case.model.zero_grad()
    for task in ("vqa", "caption"):
        prompts = case.prompts(case.data[f"train.{task}.ids"], case.data[f"train.{task}.labels"], task)
        frames, valid = case.seen("video_train", "nomemory")
        loss = compute_loss(case.model, collate(prompts, frames, valid))
        loss.backward()
        error = abs(loss.item() - case.data[f"train.{task}.loss"].item())
        yield Line(case.name, f"train.{task}.loss", error, LOSS)
    # Gates of layers that never ran have no gradient; the conversion asks for them and leaves them out.
    heads = case.shape["heads"]
    expected = {
        f"layers.{i}.attention.gate{j}": torch.zeros(1, heads, 1, 1)
        for i in range(case.shape["layers"])
        for j in (1, 2)
    }
    expected |= {name[5:]: tensor for name, tensor in case.data.items() if name.startswith("grad.")}
    wanted = convert(expected, **case.shape, prompt_length=case.entry["adapter_len"])
    found = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    worst = max(float((found[n] - g).abs().max() / g.abs().max().clamp(min=1e-30)) for n, g in wanted.items())
    yield Line(case.name, "train.gradients", worst if found.keys() == wanted.keys() else float("inf"), GRADIENT)


def check_scores(case: Case) -> Iterator[Line]:
    for layout in ("mc", "open"):
        ids, labels = case.data[f"eval.{layout}.ids"], case.data[f"eval.{layout}.labels"]
        groups = [case.prompts(row, label, layout) for row, label in zip(ids, labels, strict=True)]
        for memory in ("nomemory", "memory"):
            key = f"eval.{layout}.{memory}"
            found = nll_of_targets(case.model, groups, *case.seen("video_eval", memory))
            error, wrong = 0.0, 0
            for row, group in enumerate(groups):
                means = []
                for option, prompt in enumerate(group):
                    first, last = prompt.target
                    expected = case.data[f"{key}.token_nll"][row, option, first - 1 : last - 1]
                    counted = labels[row, option, first:last].ne(0)
                    error = max(error, float((found[row][option] - expected)[counted].abs().max()))
                    wrong += int(counted.sum() != case.data[f"{key}.count"][row, option])
                    means.append(found[row][option][counted].mean())
                wrong += int(torch.stack(means).argmin() != case.data[f"{key}.pred"][row])
            yield Line(case.name, f"{key}.token_nll", error, NLL)
            yield Line(case.name, f"{key}.predictions", float(wrong), 0.0)


def check_generation(case: Case) -> Iterator[Line]:
    first, second = (case.data[f"decode.prompt{i}"].tolist() for i in (1, 2))
    ids = (*first, *[0] * case.frames, *second)
    prompt = Prompt(ids, (len(first), len(first) + case.frames), (len(ids), len(ids)))
    for memory in ("nomemory", "memory"):
        key = f"decode.{memory}"
        frames = functional.normalize(case.features["video_decode"], dim=-1)
        if memory == "memory":
            frames = project(frames, case.features["memory"])
        context = read(case.model, [prompt], frames[None], torch.ones(1, case.frames, dtype=torch.bool))
        error = float((context.next_logits[0] - case.data[f"{key}.first_logits"]).abs().max())
        yield Line(case.name, f"{key}.first_logits", error, NLL)
        for banned in ([], case.data[f"{key}.banned_ids"].tolist()):
            expected = case.data[f"{key}.generated{'_banned' if banned else ''}"].tolist()
            tokens = case.model.greedy(context, STEPS, banned=banned)[0]
            wrong = sum(a != b for a, b in zip(tokens, expected, strict=True))
            yield Line(case.name, f"{key}.generated{'_banned' if banned else ''}", float(wrong), 0.0)


def run(folder: Path) -> Iterator[Line]:
    """All lines of all cases."""
    with tempfile.TemporaryDirectory() as scratch:
        for case in load_cases(folder, Path(scratch)):
            yield from check_training(case)
            yield from check_scores(case)
            yield from check_generation(case)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    failed = False
    for line in run(parser.parse_args().folder):
        print(line.as_json(), flush=True)
        failed |= line.error > line.limit
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
