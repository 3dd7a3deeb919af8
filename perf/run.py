"""How fast topa is beside the same work done the way the released code does it: `python perf/run.py`.

Every line first asserts that both ways give the same result, then measures them in turn in one process (processor
time, one thread), and their memory in processes of their own. What a library promises is measured by `library.py`, as
the group of that name, and kept in `library.json`. Prints a table; `--json FILE` keeps it, and the
table of docs/benchmarks.md is made from that file (`--table FILE`).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionTransformer

sys.path.insert(0, str(Path(__file__).parent))  # also in the processes that memory is measured in

import naive
from measure import Row, Work, interleaved, peak_mb, save_figures

import library
from topa.features.frames import FrameFeatures
from topa.inference.scorer import nll_of_targets, read
from topa.memory.bank import MemoryBank
from topa.memory.cached_projection import project_cached
from topa.memory.projection import project
from topa.models import VideoLanguageModel
from topa.prompts.prompt import Prompt
from topa.training.data import collate
from topa.training.reading import compute_loss

VOCABULARY, WIDTH, LAYERS, FEATURES, FRAMES = 32_000, 512, 8, 768, 10
START = 15  # tokens of the instruction, before the frames
MAXIMUM, EVALUATION = 150, 600  # what the released code pads training and evaluation to
BATCH, SAMPLES = 8, 64
OPTIONS = 5


@cache
def model() -> VideoLanguageModel:
    """dim 512, 8 layers, vocabulary 32,000, random weights, open gates."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=1376,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        tie_word_embeddings=False,
    )
    made = VideoLanguageModel(LlamaForCausalLM(config), FEATURES, frames=FRAMES)
    for prompts in made.prompts:
        torch.nn.init.normal_(prompts.gate)
    return made


def text(length: int, seed: int) -> list[int]:
    """A prompt's tokens: an instruction that all prompts share, slots, and random words."""
    words = torch.randint(30, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return [1, *range(5, 4 + START), *[0] * FRAMES, *words[START + FRAMES :]]


def features(count: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, FRAMES, FEATURES, generator=generator), dim=-1)


def valid(count: int) -> Tensor:
    return torch.ones(count, FRAMES, dtype=torch.bool)


def agree(name: str, ours: Tensor, theirs: Tensor, limit: float) -> None:
    """Nothing is measured that isn't equal."""
    error = float((ours - theirs).abs().max())
    if not error <= limit:
        sys.exit(f"{name}: results differ by {error:.2e}, more than {limit:.0e}; nothing was measured")


def compare(
    name: str, what: str, ways: dict[str, Work], targets: dict[str, float], rounds: int, times: float = 1
) -> list[Row]:
    """Rows for every baseline among `ways`; the last is ours. times: work done by ours for one of the baseline's."""
    timing = interleaved(ways, rounds)
    ours = list(ways)[-1]
    return [
        Row(
            name,
            what if way == "naive" else f"{what}, {way}",
            timing.seconds[way] * times,
            timing.seconds[ours],
            "s",
            targets.get(way),
            timing.ratios[way] * times,
        )
        for way in list(ways)[:-1]
    ]


# Training


def training_set(kind: str) -> tuple[list[Prompt], Tensor]:
    """64 prompts: multiple choice of 90 to 150 tokens with 4 to learn, or captions of 60 to 120 with all to learn."""
    least, most = (90, 150) if kind == "choice" else (60, 120)
    lengths = torch.randint(least, most + 1, (SAMPLES,), generator=torch.Generator().manual_seed(3)).tolist()
    learned = [4 if kind == "choice" else n - START - FRAMES - 5 for n in lengths]
    prompts = [
        Prompt(tuple(text(n, seed)), (START, START + FRAMES), (n - k, n))
        for seed, (n, k) in enumerate(zip(lengths, learned, strict=True))
    ]
    return prompts, features(SAMPLES)


def epoch(kind: str, way: str, batches: int = SAMPLES // BATCH) -> Work:
    """Forward and backward of an epoch: in the order the samples come and padded to 150, or batched by length."""
    made, (prompts, frames) = model(), training_set(kind)
    if way == "naive":
        reference, (ids, labels) = naive.Naive(made), naive.padded(prompts, MAXIMUM)
        parts = [slice(at, at + BATCH) for at in range(0, batches * BATCH, BATCH)]

        def losses() -> Iterator[Tensor]:
            for part in parts:
                yield reference.loss(ids[part], labels[part], frames[part], START) * labels[part].ne(0).sum()
    else:
        order = sorted(range(SAMPLES), key=lambda i: len(prompts[i]))
        members = [order[at : at + BATCH] for at in range(0, SAMPLES, BATCH)][-batches:]
        ready = [collate([prompts[i] for i in m], frames[m], valid(BATCH)) for m in members]

        def losses() -> Iterator[Tensor]:
            for batch in ready:
                yield compute_loss(made, batch) * len(batch.targets)

    def work() -> Tensor:
        made.zero_grad()
        total = torch.zeros(())
        for loss in losses():
            loss.backward()
            total += loss.detach()
        gradient = torch.cat([p.grad.flatten() for p in made.trainable_parameters()])
        return torch.cat([total[None] / SAMPLES, gradient / gradient.abs().max()])

    return work


def step_choice(way: str) -> Work:
    """One step, for memory: ours on its longest batch."""
    return epoch("choice", way, 1)


def step_caption(way: str) -> Work:
    return epoch("caption", way, 1)


def training(rounds: int) -> Iterator[Row]:
    for kind, name, target in (("choice", "multiple choice", 2.2), ("caption", "captions", 2.4)):
        theirs, ours = epoch(kind, "naive"), epoch(kind, "ours")
        agree(f"training {kind}", ours(), theirs(), 1e-4)
        yield from compare(f"training, {name}", "64 samples, forward and backward", {"naive": theirs, "ours": ours},
                           {"naive": target}, rounds)  # fmt: skip
    for step, name, target in ((step_choice, "multiple choice", 2.5), (step_caption, "captions", 2.5)):
        theirs_mb, ours_mb = peak_mb(step, "naive"), peak_mb(step, "ours")
        what = "one step of 8, memory above the model"
        yield Row(f"training, {name}", what, theirs_mb, ours_mb, "MB", target, theirs_mb / ours_mb)


# Options


def question(kind: str) -> list[Prompt]:
    """Five candidates: a letter and four tokens around it behind 256 tokens, or answers of 4 to 16 tokens behind 60."""
    if kind == "letters":
        begin = text(256, 7)
        return [Prompt((*begin, 7, 100 + i, 9, 2), (START, START + FRAMES), (256, 260)) for i in range(OPTIONS)]
    begin, lengths = text(60, 8), (4, 7, 10, 13, 16)
    return [
        Prompt((*begin, *text(START + FRAMES + n, 50 + n)[START + FRAMES :], 2), (START, START + FRAMES), (60, 61 + n))
        for n in lengths
    ]


def means(made: VideoLanguageModel, groups: list[list[Prompt]], frames: Tensor) -> Tensor:
    """Mean NLL of every candidate of every group, all about one video."""
    found = nll_of_targets(made, groups, frames, valid(1), [0] * len(groups))
    return torch.stack([n.mean() for group in found for n in group])


def options(rounds: int) -> Iterator[Row]:
    made, reference, frames = model(), naive.Naive(model()), features(1, 5)
    for kind, what, targets in (
        ("letters", "five options, 260 tokens", {"naive": 25.0, "already trimmed": 8.0}),
        ("open", "five free answers, 65 to 77 tokens", {"naive": 30.0, "already trimmed": 2.5}),
    ):
        group = question(kind)
        full, trimmed = naive.padded(group, EVALUATION), naive.padded(group, max(map(len, group)))

        ways = {
            "naive": partial(reference.option_nll, *full, frames, START),
            "already trimmed": partial(reference.option_nll, *trimmed, frames, START),
            "ours": partial(means, made, [group], frames),
        }
        agree(what, ways["ours"](), ways["naive"](), 1e-4)
        agree(what, ways["ours"](), ways["already trimmed"](), 1e-4)
        yield from compare("options", what, ways, targets, rounds)
    # Many questions about one video, beside one by one.
    groups = [question("open") for _ in range(16)]
    groups = [[replace(p, ids=(*p.ids[:40], 40 + n, *p.ids[41:])) for p in group] for n, group in enumerate(groups)]

    def alone() -> Tensor:
        return torch.cat([means(made, [group], frames) for group in groups])

    together = partial(means, made, groups, frames)
    agree("questions about one video", together(), alone(), 1e-4)
    yield from compare("options", "16 questions about one video, beside one by one", {"naive": alone, "ours": together},
                       {}, rounds)  # fmt: skip


# Generation


def generation(rounds: int) -> Iterator[Row]:
    made, reference, frames = model(), naive.Naive(model()), features(16, 6)
    prompts = [Prompt(tuple(text(60, 20 + i)), (START, START + FRAMES), (60, 60)) for i in range(16)]

    def theirs() -> list[list[int]]:
        return [reference.generate(torch.tensor([prompts[0].ids]), frames[:1], START, 10)]

    def ours(count: int = 1) -> list[list[int]]:
        return made.greedy(read(made, prompts[:count], frames[:count], valid(count)), 10)

    if ours() != theirs() or ours(16)[:1] != theirs():
        sys.exit("generation: tokens differ; nothing was measured")
    yield from compare("generation", "10 tokens for one video", {"naive": theirs, "ours": ours}, {"naive": 4.5}, rounds)
    yield from compare("generation", "10 tokens for each of 16 videos", {"naive": theirs, "ours": lambda: ours(16)},
                       {"naive": 13.0}, rounds, times=16)  # fmt: skip


# Projection


@cache
def memory(rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.cat(
        [F.normalize(torch.randn(5000, FEATURES, generator=generator), dim=-1) for _ in range(rows // 5000)]
    )


@cache
def half_memory(rows: int) -> Tensor:
    """The same in float16, made without ever being whole in float32."""
    generator = torch.Generator().manual_seed(9)
    return torch.cat(
        [F.normalize(torch.randn(5000, FEATURES, generator=generator), dim=-1).half() for _ in range(rows // 5000)]
    )


def project_100k(way: str) -> Work:
    frames = features(32, 11).view(-1, FEATURES)
    if way == "naive":
        stored = memory(100_000)
        return lambda: naive.project(frames, stored)
    held = half_memory(100_000)
    return lambda: project(frames, held)


def project_1m(way: str) -> Work:
    frames, held = features(32, 11).view(-1, FEATURES), half_memory(1_000_000)
    return lambda: project(frames, held)


def projection(rounds: int) -> Iterator[Row]:
    theirs, ours = project_100k("naive"), project_100k("ours")
    agree("projection", ours(), theirs(), 2e-3)  # float16 storage
    agree("projection in float32", project(features(32, 11).view(-1, FEATURES), memory(100_000)), theirs(), 1e-5)
    yield from compare(
        "projection", "320 frames on 100,000 rows", {"naive": theirs, "ours": ours}, {"naive": 1.3}, rounds
    )
    theirs_mb, ours_mb = peak_mb(project_100k, "naive"), peak_mb(project_100k, "ours")
    yield Row("projection", "320 frames on 100,000 rows, memory above what is stored", theirs_mb, ours_mb, "MB", 30.0,
              theirs_mb / ours_mb)  # fmt: skip
    whole_mb = peak_mb(project_1m, "ours")
    limit = 200.0
    yield Row("projection", "320 frames on 1,000,000 rows, memory above what is stored (limit 200 MB)", limit, whole_mb,
              "MB", 1.0, limit / whole_mb)  # fmt: skip
    videos = [FrameFeatures.image(v, "clip") for v in features(32, 11)]
    bank = MemoryBank(half_memory(100_000), "clip", hash="benchmark")

    def one_by_one() -> Tensor:
        return torch.stack([bank.project(v, 0.01).features.values for v in videos])

    def batched() -> Tensor:
        return torch.stack([v.features.values for v in bank.project_all(videos, 0.01)])

    def naive_calls() -> Tensor:
        return torch.stack([naive.project(v.values, memory(100_000)) for v in videos])

    agree("a batch of videos", batched(), one_by_one(), 1e-5)
    agree("a batch of videos", batched(), naive_calls(), 2e-3)
    ways = {"naive": naive_calls, "beside 32 calls of ours": one_by_one, "ours": batched}
    yield from compare("projection", "32 videos at once", ways, {"naive": 3.5}, rounds)
    with tempfile.TemporaryDirectory() as folder:

        def cached() -> Tensor:
            return torch.stack([v.values for v in project_cached(bank, videos, 0.01, Path(folder))])

        agree("cached projections", cached(), batched(), 0.0)
        yield from compare("projection", "the same 32 videos a second time", {"naive": batched, "ours": cached},
                           {"naive": 100.0}, rounds)  # fmt: skip


# What a user would pick instead


def shaped(layers: int, **sizes: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, tie_word_embeddings=True, **sizes)).eval()


SMOLVLM2 = {
    "vocab_size": 49_280, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
    "num_key_value_heads": 3,
}  # fmt: skip
QWEN = {
    "vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 11_008, "num_attention_heads": 16,
    "num_key_value_heads": 2,
}  # fmt: skip
# name: sizes, layers of how many, visual tokens that are read, of how many for three minutes
PEERS = {
    "SmolVLM2-256M": (SMOLVLM2, 30, 30, 64 * 64, 64 * 64),
    "Qwen2.5-VL-3B": (QWEN, 2, 36, 2304, 23_040),
}


def prefill(peer: str, way: str) -> Work:
    """The LLM reads a question of 40 tokens about a video: as many visual tokens as the peer has, or topa's ten."""
    sizes, layers, _, tokens, _ = PEERS[peer]
    llm = shaped(layers, **sizes)
    if way == "naive":
        embeds = torch.randn(1, tokens + 40, sizes["hidden_size"])

        @torch.no_grad()
        def read_all() -> Tensor:
            return llm(inputs_embeds=embeds, use_cache=True, logits_to_keep=1).logits

        return read_all
    made = VideoLanguageModel(llm, FEATURES, frames=FRAMES)
    prompt = Prompt((*[5] * START, *[0] * FRAMES, *[9] * 25), (START, START + FRAMES), (50, 50))
    frames = features(1)
    return lambda: read(made, [prompt], frames, valid(1))


def smol(way: str) -> Work:
    return prefill("SmolVLM2-256M", way)


def qwen(way: str) -> Work:
    return prefill("Qwen2.5-VL-3B", way)


def peers(rounds: int) -> Iterator[Row]:
    for peer, make in (("SmolVLM2-256M", smol), ("Qwen2.5-VL-3B", qwen)):
        _, layers, of, tokens, whole = PEERS[peer]
        shape = f"{layers} of {of} layers" if layers < of else f"all {of} layers"
        note = f"{tokens:,} visual tokens of {whole:,}" if tokens < whole else f"{tokens:,} visual tokens"
        yield Row(f"beside a {peer}-shaped model", "visual tokens of a 3-minute video", whole, FRAMES, "tokens", None,
                  whole / FRAMES)  # fmt: skip
        what = f"the LLM reads the question ({shape}, {note} and ours {FRAMES})"
        yield from compare(f"beside a {peer}-shaped model", what, {"naive": make("naive"), "ours": make("ours")}, {}, 1)
        theirs_mb, ours_mb = peak_mb(make, "naive"), peak_mb(make, "ours")
        yield Row(f"beside a {peer}-shaped model", "the same, memory above the model", theirs_mb, ours_mb, "MB", None,
                  theirs_mb / ours_mb)  # fmt: skip
    # Pictures: what SmolVLM2's tower takes for one frame, and how many frames it is given.
    tower = SmolVLMVisionTransformer(
        SmolVLMVisionConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            image_size=512,
            patch_size=16,
        )
    ).eval()
    from transformers import CLIPVisionConfig, CLIPVisionModel

    clip = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=224,
            patch_size=14,
        )
    ).eval()
    theirs, ours = torch.randn(1, 3, 512, 512), torch.randn(1, 3, 224, 224)
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    with torch.no_grad():
        timing = interleaved(
            {"naive": lambda: tower(theirs, patch_attention_mask=mask), "ours": lambda: clip(ours)}, rounds
        )
    what = "pictures: its tower on 64 frames, CLIP ViT-L/14 on 10 (one measured, multiplied)"
    seconds = timing.seconds["naive"] * 64, timing.seconds["ours"] * 10
    yield Row("beside a SmolVLM2-256M-shaped model", what, *seconds, "s", None, timing.ratios["naive"] * 6.4)


BENCHMARKS: dict[str, Callable[[int], Iterator[Row]]] = {
    "training": training,
    "options": options,
    "generation": generation,
    "projection": projection,
    "peers": peers,
    "library": library.rows,
}


def as_table(rows: list[dict[str, Any]]) -> str:
    """The table of docs/benchmarks.md."""
    lines = ["| what | baseline | topa | ratio | target |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        figures = [f"{row[key]:,.{0 if row['unit'] != 's' else 3}f} {row['unit']}" for key in ("baseline", "ours")]
        target = "" if row["target"] is None else f"{row['target']:g}"
        lines.append(f"| {row['name']}: {row['what']} | {figures[0]} | {figures[1]} | {row['ratio']:.3g} | {target} |")
    return "\n".join(lines)


def kept(path: Path, rows: list[Row]) -> list[dict[str, Any]]:
    """The new figures, among those of other groups that the file has already."""
    new = [asdict(row) for row in rows]
    old = json.loads(path.read_text())["rows"] if path.is_file() else []
    names = {row["name"] for row in new}
    order = list(dict.fromkeys([row["name"] for row in [*old, *new]]))
    return sorted([*(row for row in old if row["name"] not in names), *new], key=lambda row: order.index(row["name"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], epilog="Example: run.py --only options")
    parser.add_argument("--only", choices=BENCHMARKS, help="one group; all by default (about ten minutes)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of every way")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures, beside those of groups not run")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of kept figures, and end")
    given = parser.parse_args()
    if given.table:
        print(as_table(json.loads(given.table.read_text())["rows"]))
        return
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in [given.only] if given.only else BENCHMARKS:
        for row in BENCHMARKS[name](given.rounds):
            rows.append(row)
            target = "" if row.target is None else f"  (target {row.target:g})"
            figures = f"{row.baseline:,.3f} -> {row.ours:,.3f} {row.unit}, {row.ratio:.3g} times{target}"
            print(f"{row.name}: {row.what}: {figures}", flush=True)
    if given.json:
        about = {"torch": torch.__version__, "machine": platform.machine(), "rounds": given.rounds}
        save_figures(given.json, about | {"rows": kept(given.json, rows)})


if __name__ == "__main__":
    main()
