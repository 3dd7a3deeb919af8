"""Run folders as training leaves them, made up: curves that look like a real run's, from a seed, in no time."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SETTINGS = {
    "llm": "meta-llama/Llama-2-7b-hf",
    "encoder": "openai/clip-vit-large-patch14",
    "frames": 10,
    "adapter": "prompts",
    "adapted_layers": None,
    "noise": 0.0,
    "epochs": 20,
    "warmup": 0.05,
    "batch_size": 32,
    "lr": 0.005,
    "weight_decay": 0.1,
    "seed": 0,
}


def rows(
    steps: int, *, layers: int = 32, every: int = 50, lr: float = 0.005, seed: int = 0, captions: bool = True
) -> Iterator[dict[str, Any]]:
    """The log of a run, validated every so many steps."""
    draw = random.Random(seed)
    for step in range(steps + 1):
        done = step / max(steps, 1)
        fit = 1 - math.exp(-5 * done * min(1.0, lr / 0.003))
        if step:
            warm = max(1, steps // 20)
            share = step / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
            seconds, tokens = draw.uniform(1.9, 2.3), draw.randint(5600, 6400)
            yield {
                "step": step,
                "epoch": int(20 * done),
                "loss": round(
                    0.35 + 2.1 * (1 - fit) + draw.gauss(0, 0.12 * (1.2 - fit)) ** 2 + abs(draw.gauss(0, 0.05)), 5
                ),
                "lr": lr * share,
                "gradient_norm": round(math.exp(draw.gauss(-0.7 - fit, 0.35)), 5),
                "samples": 32,
                "tokens": tokens,
                "tokens_per_second": round(tokens / seconds),
                "wait": round(seconds * draw.uniform(0.005, 0.03) if step % 97 else 0.4, 5),
                "seconds": round(seconds, 5),
                "cut_prompts": 0,
            }
        if step % every == 0 or step == steps:
            yield {
                "step": step,
                "held_out": {
                    "loss": 0.52 + 1.95 * (1 - fit) + 0.1 * done**2 + draw.uniform(0, 0.03),
                    "accuracy": 0.22 + 0.55 * fit - 0.04 * done**2 + draw.uniform(-0.01, 0.01),
                    "rouge_l": 0.1 + 0.28 * fit + draw.uniform(0, 0.01) if captions else None,
                    "questions": 200,
                    "captions": 100 if captions else 0,
                },
            }
            opened = [
                math.tanh(0.5 * fit * ((k + 4) / layers) ** 2 * (1 + 0.4 * math.sin(2.1 * k))) for k in range(layers)
            ]
            yield {
                "step": step,
                "gates": opened,
                "video_bias": [3.5 - 0.9 * fit * (k + 1) / layers for k in range(layers)],
                "first_layer": 0,
            }


def write_run(
    folder: Path, steps: int = 400, *, until: int | None = None, kind: str = "align", every: int = 50, **settings: Any
) -> Path:
    """A run folder. until: a run that was cut off behind this step. settings: what differs from `SETTINGS`."""
    told = SETTINGS | settings
    folder.mkdir(parents=True)
    run = {
        "kind": kind,
        "started": "2031-05-04T10:20:30+00:00",
        "steps": steps,
        "samples": 721_000,
        "processes": 1,
        "settings": told,
    }
    run["command"] = f"topa {kind} --recipe llama2-7b --out {folder.name} --set lr={told['lr']}"
    (folder / "run.json").write_text(json.dumps(run))
    logged = list(rows(steps, lr=told["lr"], seed=told["seed"], every=every))
    with (folder / "metrics.jsonl").open("w") as file:
        for row in logged:
            if until is None or row["step"] <= until:
                file.write(json.dumps(row) + "\n")
    if until is None:
        held = [row for row in logged if "held_out" in row]
        best = max(held, key=lambda row: row["held_out"]["accuracy"])
        result = {
            "steps": steps,
            "seconds": 2.1 * steps,
            "loss": next(row["loss"] for row in reversed(logged) if "loss" in row),
            "accuracy": held[-1]["held_out"]["accuracy"],
            "best": {"step": best["step"], "accuracy": best["held_out"]["accuracy"], "loss": best["held_out"]["loss"]},
        }
        (folder / "result.json").write_text(json.dumps(result))
    return folder
