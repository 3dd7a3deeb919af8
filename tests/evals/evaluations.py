"""An invented benchmark, answers to it, and the report on them."""

from __future__ import annotations

import random
from pathlib import Path

from topa.evals.catalogue import Benchmark
from topa.evals.example import Example
from topa.evals.predictions import Prediction
from topa.evals.report import EvaluationReport, FrameView, ReportSample, StageCost, Summary
from topa.evals.samples import examples_to_show, sample
from topa.evals.summary import summarise

from . import pictures

KINDS = ("action_sequence", "causal_why", "descriptive_count", "object_existence", "temporal_next")
WORDS = ("the", "man", "a", "red", "coat", "opens", "bag", "gives", "small", "dog", "food", "near", "door", "runs")


def benchmark(**changes) -> Benchmark:
    fields = {
        "name": "toyqa",
        "title": "Toy QA",
        "task": "choice",
        "splits": {"val": None},
        "read": lambda folder, split: iter(()),
        "macro": True,
    }
    return Benchmark(**fields | changes)


def examples(number: int = 120, videos: int = 30, text: str = "", **changes) -> list[Example]:
    """`text` is put into every field that is free text."""
    rng = random.Random(f"examples {number}")
    found = []
    for k in range(number):
        fields = {
            "id": f"{k:04}{text}",
            "video": f"v{k % videos}{text}",
            "path": Path(f"/data/v{k % videos}.mp4"),
            "question": f"why does the {rng.choice(WORDS)} {rng.choice(WORDS)} before number {k} ?{text}",
            "options": tuple(" ".join(rng.choices(WORDS, k=rng.randint(2, 7))) + text for _ in range(5)),
            "answer": rng.randrange(5),
            "kind": KINDS[k % len(KINDS)] + text,
            "groups": (("duration" + text, ("short", "medium", "long")[k // len(KINDS) % 3] + text),),
        }
        found.append(Example(**fields | changes))
    return found


def predictions(records: list[Example], skill: float = 0.6, seed: str = "", errors: int = 0) -> list[Prediction]:
    """Answers of which about `skill` are right; of the first `errors` records there is none."""
    rng = random.Random(f"predictions {skill} {seed}")
    found = []
    for k, example in enumerate(records):
        if k < errors:
            why = f"{example.path}: no such file"
            found.append(Prediction(id=example.id, answer=example.answer, error=why, correct=0.0))
            continue
        right = example.answer if example.answer is not None else 0
        choice = right if rng.random() < skill else rng.choice((0, 0, 0, 1, 2, 3, 4))
        weights = [rng.random() + 3 * rng.random() * (place == choice) for place in range(len(example.options))]
        weights[choice] = max(weights) + 0.01
        correct = None if example.hidden else float(choice == example.answer)
        found.append(
            Prediction(
                id=example.id,
                choice=choice,
                text=example.options[choice],
                scores=tuple(-w for w in weights),
                probabilities=tuple(w / sum(weights) for w in weights),
                answer=example.answer,
                correct=correct,
            )
        )
    return found


def frames(number: int, text: str = "", image: str | None = "") -> tuple[FrameView, ...]:
    """`image`: another one than the usual, or None for none."""
    captions = (
        f"a man in a red coat opens a bag near the door{text}",
        f"somebody with a bag is standing in a kitchen, and a dog looks up to him{text}",
        f"a dog is fed{text}",
    )
    return tuple(
        FrameView(
            time=2.5 + 5 * k,
            image=pictures.data_uri((24 * k, 90, 160)) if image == "" else image,
            captions=captions,
            weights=(0.58, 0.27, 0.15),
        )
        for k in range(number)
    )


def summary(records: list[Example], **changes) -> Summary:
    answers = predictions(records, errors=min(4, len(records)))
    baselines = {
        name: predictions(records, skill, name)
        for name, skill in (("blind", 0.25), ("shuffled_frames", 0.55), ("no_projection", 0.1))
    }
    return summarise(benchmark(), records, answers, baselines, resamples=200, **changes)


def with_video(report: EvaluationReport, file: str = "videos/0001.mp4", text: str = "") -> EvaluationReport:
    """The report with a first example whose video lies below its folder."""
    body = report.samples[0].model_dump() | {"file": file, "description": f"a dog is fed .{text}"}
    return report.model_copy(update={"samples": (ReportSample.model_validate(body), *report.samples[1:])})


def full(text: str = "", number: int = 120, frame_count: int = 10, records=None, **changes) -> EvaluationReport:
    """`text` is put into every field that is free text."""
    records = examples(number, text=text) if records is None else records
    answers = {p.id: p for p in predictions(records, errors=min(4, len(records)))}
    wanted = set(examples_to_show(records, list(answers.values()), right=8, wrong=8, errors=2))
    samples = [sample(e, answers[e.id], frames(frame_count, text)) for e in records if e.id in wanted]
    fields = dict(summary(records)) | {
        "title": f"Toy QA, validation{text}",
        "benchmark": f"toyqa{text}",
        "split": f"val{text}",
        "task": "choice",
        "protocol": f"selection{text}",
        "command": f"topa evaluate toyqa --data data/toyqa --model out/model --out out/toyqa --seed 3{text}",
        "created": f"2026-01-02T03:04:05+00:00{text}",
        "samples": samples,
        "settings": {f"frames{text}": 10, f"model{text}": f"out/model{text}", "projection": True, "limit": None},
        "seeds": {f"bootstrap{text}": 0, "examples": 3},
        "versions": {f"topa{text}": f"0.1.0{text}", "torch": "2.13.0+cpu", "python": "3.11.9"},
        "hashes": {f"adapter.safetensors{text}": "3f" * 32, "val.csv": "a0" * 32},
        "stages": [
            StageCost(name=f"align{text}", seconds=96.4, peak_mb=1210.0),
            StageCost(name="answer", seconds=28.4, peak_mb=730.5),
        ],
        "parameters": {f"trainable{text}": 41216, "frozen": 3145728},
        "about": f"A model that never saw one was asked about videos.{text}",
        "seconds": 192.0,
        "notes": (f"Options are scored by the mean negative log-likelihood of their letter.{text}",),
    }
    return EvaluationReport(**fields | changes)
