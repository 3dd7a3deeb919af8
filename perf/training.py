"""Training from end to end beside the naive loop: `python perf/training.py [--json FILE]`.

Both read the same Tideos and features from disk, tokenise, train and step; the naive loop reads one pickle a Tideo,
pads to 150 and computes all logits, as the released code does. First a batch's loss is asserted to be the same. Then
the memory of 10,000 steps, and how long steps waited for their data.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent))

import naive
from measure import interleaved, save_figures
from tokenizers import Tokenizer, models, pre_tokenizers

from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStoreWriter
from topa.models import VideoLanguageModel
from topa.prompts.prompt import Prompter
from topa.tideos.index import TideoFile
from topa.tideos.jsonl import write_jsonl
from topa.tideos.tideo import Question, TextFrame, Tideo
from topa.training.config import TrainConfig
from topa.training.data import Mix, StoredSet, epoch_batches, write_prompt
from topa.training.loop import Watch, train
from topa.training.metrics import METRICS, read_metrics
from topa.training.reading import compute_loss

VOCABULARY, FEATURES, FRAMES, MAXIMUM, BATCH = 32_000, 768, 10, 150, 8
MIX = Mix(0.5, 0.0, 0.5)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A word a token: numbered words, and whatever else is unknown."""
    words = {word: i for i, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", *(f"w{i}" for i in range(31_996))))}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def words(rng: random.Random, least: int, most: int) -> str:
    return " ".join(f"w{rng.randrange(31_996)}" for _ in range(rng.randint(least, most)))


def write(folder: Path, number: int) -> list[Tideo]:
    """Tideos, their features in a store, and the same in the published layout: one list, one pickle a Tideo."""
    rng = random.Random(0)
    tideos = []
    (folder / "pickles").mkdir()
    writer = FeatureStoreWriter(folder / "store", "synthetic", FEATURES, "text")
    for i in range(number):
        options = tuple(f"w{k} {words(rng, 8, 18)}" for k in range(5))
        question = Question(question=words(rng, 10, 20), options=options, answer=rng.randrange(5))
        frames = tuple(TextFrame(caption=words(rng, 8, 12)) for _ in range(FRAMES))
        tideos.append(Tideo(id=f"t{i}", frames=frames, description=words(rng, 40, 95), questions=(question,)))
        rows = F.normalize(torch.randn(FRAMES, FEATURES, generator=torch.Generator().manual_seed(i)), dim=-1)
        writer.add(FrameFeatures.text(rows, "synthetic"), f"t{i}")
        torch.save(rows, folder / "pickles" / f"t{i}.pkl")
    writer.close()
    write_jsonl(tideos, folder / "tideos.jsonl")
    return tideos


def stored(folder: Path) -> StoredSet:
    from topa.features.store import FeatureStore

    file = TideoFile.open(folder / "tideos.jsonl", show=False)
    return StoredSet(file, file.ids, FeatureStore.open(folder / "store"), FRAMES, range(len(file)))


def model(width: int, layers: int, heads: int, vocabulary: int = VOCABULARY) -> VideoLanguageModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=int(width * 2.6875),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        tie_word_embeddings=False,
    )
    return VideoLanguageModel(LlamaForCausalLM(config), FEATURES, frames=FRAMES)


def settings(**changes: Any) -> TrainConfig:
    told = {"choose": 0.5, "answer": 0.0, "describe": 0.5, "batch_size": BATCH, "epochs": 1, "checkpoint_minutes": 1e6}
    return TrainConfig(**told | changes)


def naive_epoch(made: VideoLanguageModel, tideos: list[Tideo], folder: Path) -> None:
    """The released loop: samples in random order, a task a batch, everything read and written out anew."""
    reference, ask = naive.Naive(made), Prompter(tokenizer())
    optimizer = torch.optim.AdamW(made.trainable_parameters(), lr=1e-3, betas=(0.9, 0.95))
    rng = random.Random(1)
    order = rng.sample(range(len(tideos)), len(tideos))
    for start in range(0, len(order), BATCH):
        mix = Mix(1, 0, 0) if rng.random() < 0.5 else Mix(0, 0, 1)
        chosen = [tideos[i] for i in order[start : start + BATCH]]
        prompts = [write_prompt(t, FRAMES, ask, mix, rng) for t in chosen]  # type: ignore[arg-type]
        frames = [torch.load(folder / "pickles" / f"{t.id}.pkl", weights_only=True) for t in chosen]
        ids, labels = naive.padded([p for p in prompts if p is not None], MAXIMUM)
        first = next(p for p in prompts if p is not None).slots[0]
        optimizer.zero_grad()
        reference.loss(ids, labels, torch.stack(frames), first).backward()
        optimizer.step()


def agree(made: VideoLanguageModel, data: StoredSet) -> None:
    """Nothing is measured that isn't equal: batches of one task, ours and padded."""
    reference = naive.Naive(made)
    checked = 0
    for batch in epoch_batches(data, Prompter(tokenizer()), MIX, batch_size=BATCH, seed=0, epoch=0):
        if not batch.shared:
            continue  # of two tasks, whose frames begin at different places
        ids, labels = torch.zeros(len(batch.ids), MAXIMUM, dtype=torch.int64), None
        ids[:, : batch.ids.shape[1]] = batch.ids
        labels = torch.zeros_like(ids)
        labels[batch.rows, batch.columns + 1] = batch.targets
        theirs = reference.loss(ids, labels, batch.frames, batch.shared)
        ours = compute_loss(made, batch).detach()
        if abs(float(ours) - float(theirs.detach())) > 1e-4:
            sys.exit(f"losses differ: {float(ours)} and {float(theirs)}; nothing was measured")
        checked += 1
    if not checked:
        sys.exit("no batch could be compared; nothing was measured")


def throughput(folder: Path, rounds: int) -> dict[str, float]:
    """An epoch of 128 samples from disk, both ways in turn: processor seconds, one thread."""
    tideos, data = write(folder, 128), stored(folder)
    made = model(512, 8, 8)
    agree(made, data)
    runs: list[Path] = []

    def ours() -> None:
        runs.append(folder / f"run-{len(runs)}")
        train(made, Prompter(tokenizer()), data, settings(), runs[-1], watch=Watch(show=False))

    timing = interleaved({"naive": lambda: naive_epoch(made, tideos, folder), "ours": ours}, rounds)
    rows = [row for run in runs for row in read_metrics(run / METRICS) if "loss" in row]
    return {
        "naive_seconds": timing.seconds["naive"],
        "ours_seconds": timing.seconds["ours"],
        "ratio": timing.ratios["naive"],
        "samples_per_second": len(data) / timing.seconds["ours"],
        "wait_share": sum(row["wait"] for row in rows) / sum(row["seconds"] for row in rows),
    }


def memory(folder: Path, steps: int = 10_000) -> dict[str, float]:
    """Resident memory every 1,000 steps of a small model over 4,000 Tideos on disk, answered by letters."""
    write(folder, 4_000)
    data, made = stored(folder), model(32, 1, 1)
    seen: list[float] = []
    original = torch.optim.AdamW.step
    count = [0]

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] % 1000 == 0:
            status = Path("/proc/self/status").read_text()
            seen.append(int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6)
        return original(self, *args, **options)

    torch.optim.AdamW.step = counted  # type: ignore[method-assign]
    try:
        told = settings(choose=1.0, describe=0.0, epochs=steps * BATCH // 4_000, checkpoint_minutes=0.2)
        train(made, Prompter(tokenizer()), data, told, folder / "run", watch=Watch(show=False))
    finally:
        torch.optim.AdamW.step = original  # type: ignore[method-assign]
    rows = [row for row in read_metrics(folder / "run" / METRICS) if "loss" in row]
    return {
        "steps": len(rows),
        "mb_after_1000": seen[0],
        "mb_at_most": max(seen),
        "mb_at_the_end": seen[-1],
        "wait_share": sum(row["wait"] for row in rows) / sum(row["seconds"] for row in rows),
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """For docs/benchmarks.md."""
    speed, kept = found["throughput"], found["memory"]
    rows = [
        ("an epoch of 128 samples from disk, the naive loop", f"{speed['naive_seconds']:.1f} s"),
        ("the same by `topa align`", f"{speed['ours_seconds']:.1f} s"),
        ("ratio", f"{speed['ratio']:.2f}"),
        ("of which steps waited for data", f"{speed['wait_share']:.2%}"),
        (f"resident after 1,000 of {kept['steps']:,.0f} steps over 4,000 Tideos", f"{kept['mb_after_1000']:.0f} MB"),
        ("at most, at any thousand", f"{kept['mb_at_most']:.0f} MB"),
        ("at the end", f"{kept['mb_at_the_end']:.0f} MB"),
    ]
    return "\n".join(["| what | |", "|---|---:|", *(f"| {what} | {value} |" for what, value in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="keep the figures")
    parser.add_argument("--table", type=Path, help="only print the table of figures that were kept")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        found = {"throughput": throughput(Path(first), given.rounds), "memory": memory(Path(second))}
    print(table(found))
    if given.json:
        save_figures(given.json, found)


if __name__ == "__main__":
    main()
