"""A small report with everything in it, and a hostile one."""

from __future__ import annotations

import base64
import io
import random

from PIL import Image

from topa.evals.metrics import accuracy, difference
from topa.evals.report import Condition, DemoReport, Difference, FrameView, Sample, Stage

KINDS = ("presence", "place", "colour", "position", "size", "count", "action", "order", "before_after", "what_changed")
SKILLS = {
    "chance": (0.2, "one option in five, drawn by lot"),
    "blind": (0.22, "the frames are replaced by zeros"),
    "raw": (0.31, "image features as they are, without projection"),
    "centred": (0.52, "image features moved to the mean of the text features"),
    "projected": (0.71, "image features told as a mixture of memory captions: the method"),
    "shuffled_frames": (0.58, "as projected, with the frames in another order"),
    "text": (0.76, "held-out written stories instead of videos"),
    "blind_trained": (0.21, "trained and asked without frames"),
    "noise_trained": (0.66, "text features with noise instead of projection"),
    "video_trained": (0.83, "trained on the real videos of the training stories"),
}
HOSTILE = """<script>alert("x")</script>'"><img src=x onerror=alert(1)>&amp;</style></title>"""


def picture(colour: tuple[int, int, int], form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (32, 32), colour)
    image.paste((250, 250, 250), (10, 10, 22, 22))
    image.save(file, form)
    return file.getvalue()


def data_uri(colour: tuple[int, int, int]) -> str:
    return "data:image/png;base64," + base64.b64encode(picture(colour)).decode()


def conditions(names=tuple(SKILLS), videos: int = 60):
    """Conditions with invented answers, and the answers themselves."""
    groups = [f"v{v}" for v in range(videos) for _ in KINDS]
    kinds = [kind for _ in range(videos) for kind in KINDS]
    answers = {}
    result = []
    for name in names:
        skill, about = SKILLS[name]
        rng = random.Random(name)
        easier = {kind: rng.uniform(-0.15, 0.15) * (skill > 0.3) for kind in KINDS}
        right = answers[name] = [rng.random() < skill + easier[kind] for kind in kinds]
        by_kind = {
            kind: accuracy([r for r, k in zip(right, kinds, strict=True) if k == kind], groups[:: len(KINDS)])
            for kind in KINDS
        }
        result.append(Condition(name=name, about=about, accuracy=accuracy(right, groups), kinds=by_kind))
    return result, answers, groups


def sample(k: int, text: str = "", image: str | None = None, video: str | None = None) -> Sample:
    captions = (
        f"a small red ball is on the left in the meadow{text}",
        f"we see a red ball , tiny , on the left side , on the grass{text}",
        f"in the meadow , a little ball that is red , high up{text}",
    )
    frames = [
        FrameView(
            time=0.5 + t,
            image=image or data_uri((40 * t, 90, 60 + 40 * k)),
            captions=captions,
            weights=(0.61, 0.27, 0.09),
        )
        for t in range(5)
    ]
    return Sample(
        video=video or f"videos/{k:04}.mp4",
        description=f"a small red ball is on the left . then it grows . then it goes to the beach .{text}",
        frames=frames,
        question=f"what does the ball do after it grows ?{text}",
        kind="before_after" + text,
        options=[
            f"it {did}{text}" for did in ("goes to the beach", "turns blue", "shrinks", "stays", "moves to the top")
        ],
        probabilities=(0.62, 0.2, 0.1, 0.05, 0.03),
        answer=0 if k % 3 else 1,
        choice=0,
    )


def full(text: str = "", **changes) -> DemoReport:
    """`text` is put into every field that is free text."""
    found, answers, groups = conditions()
    pairs = [("projected", "blind"), ("projected", "raw"), ("projected", "noise_trained"), ("projected", "text")]
    differences = [
        Difference(name=f"{a} - {b}{text}", estimate=difference(answers[a], answers[b], groups)) for a, b in pairs
    ]
    time = (f"order{text}", "before_after")
    differences.append(
        Difference(
            name="projected - shuffled_frames",
            kinds=time,
            estimate=difference(answers["projected"], answers["shuffled_frames"], groups),
        )
    )
    differences.append(
        Difference(name="blind - chance", estimate=difference(answers["blind"], answers["chance"], groups))
    )
    if text:
        found = [condition.model_copy(update={"about": condition.about + text}) for condition in found]
        found[0] = found[0].model_copy(update={"name": text, "kinds": {text: found[0].accuracy}})
    stages = [("write stories", 2.1, 410.0), ("encode", 11.8, 730.5), ("align", 96.4, 1210.0), ("answer", 14.4, 1190.0)]
    fields = {
        "title": f"Videos answered by a model that never saw one{text}",
        "command": f"topa demo --out out --seed 3{text}",
        "created": f"2026-01-02T03:04:05+00:00{text}",
        "conditions": found,
        "differences": differences,
        "stages": [Stage(name=name + text, seconds=seconds, peak_mb=mb) for name, seconds, mb in stages],
        "seeds": {f"stories{text}": 3, "adapter": 2026},
        "versions": {f"topa{text}": f"0.1.0{text}", "torch": "2.13.0+cpu", "python": "3.11.9"},
        "parameters": {
            f"trainable{text}": 41216,
            "frozen": 3145728,
            "trainable share": "1.3 %",
            "trainable on a 7B model": f"4,500,000 (0.07 %){text}",
        },
        "samples": [sample(k, text) for k in range(1, 4)],
        "mistakes": [sample(k, text) for k in range(4, 6)],
        "mistake_count": 57,
        "notes": [
            f"The micro world is small: five scenes, eight toys. Real videos are harder.{text}",
            "Chance is drawn.",
        ],
        **changes,
    }
    return DemoReport(**fields)
