"""Scoring a whole benchmark: 5,000 questions with five options each, features at hand, beside the naive scorer.

    python perf/scoring.py --json perf/scoring.json

The micro model, real micro videos, one thread. Ours is what `topa evaluate` does, everything counted: reading features,
projecting, writing prompts, scoring, writing predictions. The naive scorer does what the released code does: a full
pass per option, padded to 600 tokens, logits everywhere, no cache, nothing shared; it answers a sample of the
questions, in rounds between ours, and its time a question is set against ours. Choices are asserted equal first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from measure import memory_status, save_figures
from naive import Naive, padded

import topa
from topa.core.processes import Processes
from topa.evals.answering import RecordAnswerer
from topa.evals.datasets.microworld import BENCHMARK
from topa.evals.predictions import NAME
from topa.evals.report import MODEL
from topa.evals.runner import answer_all, read_predictions
from topa.evals.watching import Videos
from topa.microworld.writer import make_videos

QUESTIONS = 5_000
PADDED = 600
SAMPLE = 40  # questions that the naive scorer answers in a round
ROUNDS = 3


def measure(questions: int, sample: int, rounds: int, work: Path, outs: Path) -> dict:
    engine = topa.load(show=False)
    data = work / "data"
    if not (data / "questions.jsonl").is_file():
        make_videos(data, questions // 6 + 60, 77, show=True)
    examples = list(BENCHMARK.read(data, "test"))[:questions]
    if len(examples) < questions:
        sys.exit(f"found {len(examples)} questions; expected {questions}")
    videos = Videos(engine.encoder, data, work / "features", engine.config.frames, 2)
    clips = {videos.clip(example): example for example in examples}
    features = {}
    for start in range(0, len(clips), 200):
        features |= next(videos.watch([list(clips.values())[start : start + 200]]))
    answering = RecordAnswerer(engine, "choice", "logits")
    reference, prompter = Naive(engine.model), engine.prompter
    values = dict(zip(features, engine.project(list(features.values())), strict=True))

    def ours(out: Path, resident: dict[int, float]) -> float:
        done = 0

        def wrote(_: int) -> None:
            nonlocal done
            done += 1
            resident[done] = memory_status("VmRSS") / 1024

        began = time.process_time()
        answer_all(examples, videos, answering, (MODEL,), out, Processes(), show=True, wrote=wrote)
        return time.process_time() - began

    def naive(number: int, length: int | None) -> int:
        example = examples[number]
        frames = values[videos.clip(example)].values[None]
        prompts = prompter.candidates(example.question, example.options, frames.shape[1], by_letter=False)
        ids, labels = padded(prompts, length or max(map(len, prompts)))
        return int(reference.option_nll(ids, labels, frames, prompts[0].slots[0]).argmin())

    ways = {"padded to 600": partial(naive, length=PADDED), "already trimmed": partial(naive, length=None)}
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "ours")}
    resident: dict[int, float] = {}
    for turn in range(rounds):
        out = outs / f"out-{turn}"
        taken["ours"].append(ours(out, resident if turn == rounds - 1 else {}) / questions)
        chosen = [p.choice for p in read_predictions(out / NAME)]
        step = questions // sample
        numbers = [turn + step * at for at in range(sample)]
        for name, way in ways.items():
            began = time.process_time()
            found = [way(number) for number in numbers]
            taken[name].append((time.process_time() - began) / sample)
            if found != [chosen[number] for number in numbers]:
                sys.exit(f"{name}: choices differ; nothing was measured")
    middle = {name: sorted(times)[len(times) // 2] for name, times in taken.items()}
    blocks = sorted(resident)
    told = {max(1, len(blocks) * tenth // 10) for tenth in (1, 5, 10)}
    return {
        "questions": questions,
        "options": 5,
        "videos": len(clips),
        "ours_ms": 1000 * middle["ours"],
        "naive_ms": 1000 * middle["padded to 600"],
        "trimmed_ms": 1000 * middle["already trimmed"],
        "ratio": middle["padded to 600"] / middle["ours"],
        "ratio_trimmed": middle["already trimmed"] / middle["ours"],
        "a_second": 1 / middle["ours"],
        "blocks": len(blocks),
        "resident_mb": {str(block): round(resident[block]) for block in blocks if block in told},
    }


def table(found: dict) -> str:
    """The figures as docs/benchmarks.md shows them."""
    resident = " / ".join(f"{mb:,}" for mb in found["resident_mb"].values())
    return "\n".join(
        [
            "| a question with five options | ms | ratio |",
            "|---|---:|---:|",
            f"| the naive scorer, padded to 600 tokens | {found['naive_ms']:.0f} | {found['ratio']:.0f} |",
            f"| a full pass per option, not padded | {found['trimmed_ms']:.1f} | {found['ratio_trimmed']:.1f} |",
            f"| `topa evaluate` | {found['ours_ms']:.2f} | 1 |",
            f"| resident after a tenth, half and all of {found['questions']:,} questions | {resident} MB | |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--sample", type=int, default=SAMPLE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", type=Path, help="a folder that keeps videos and features for the next time")
    parser.add_argument("--table", type=Path, help="print the table of kept results, and measure nothing")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.questions, given.sample, given.rounds, given.work or Path(folder), Path(folder))
    print(json.dumps(found, indent=1))
    if given.json:
        save_figures(given.json, found)


if __name__ == "__main__":
    main()
