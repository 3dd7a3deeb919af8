"""Does the evidence point at the right frame, and what does it cost: `python perf/evidence.py --json FILE`.

Questions of the micro world whose answer stands in known scenes, about mp4 files that nothing was trained on: is the
frame with the most evidence one of these scenes? Leave-one-out with several ways to take a frame away and several
scores, and attention; chance is the share of the frames that are right. Intervals: 95 %, bootstrap over videos,
Wilson's where everything hit or missed.
Then the time of leave-one-out beside its naive forms, whose numbers are asserted equal first.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

sys.path.insert(0, str(Path(__file__).parent))

from measure import interleaved, save_figures

import topa
from topa.core.progress import track
from topa.evals.metrics import IntervalEstimate, accuracy, difference, wilson
from topa.inference.engine import Topa
from topa.inference.explain import attention_to_frames, explain, leave_one_out, log_probabilities, without_each
from topa.inference.scorer import nll_of_targets
from topa.microworld.questions import candidates, lay_out
from topa.microworld.render import write_video
from topa.microworld.world import Story, write_story
from topa.tideos.tideo import Question

SEED = 3_000_017
ASPECTS = ("colour", "place", "position")
OURS = "leave-one-out"
GROUPS = ("at the start", "at the end", "of a toy in one scene", "what changes")


@dataclass(frozen=True)
class Asked:
    """A question, its group, the scenes that it is about, and whether no other scene shows the same."""

    question: Question
    group: str
    scenes: frozenset[int]
    alone: bool


def questions(story: Story, rng: random.Random) -> Iterator[Asked]:
    """One of each group that the story allows."""
    scenes = story.scenes
    found: dict[str, list[tuple[object, frozenset[int], bool]]] = {group: [] for group in GROUPS}
    for aspect in ASPECTS:
        values = [getattr(scene, aspect) for scene in scenes]
        for candidate in candidates(story, aspect):
            for group, at in ((GROUPS[0], 0), (GROUPS[1], len(scenes) - 1)):
                if candidate.question.endswith(f"{group} ?"):
                    found[group].append((candidate, frozenset({at}), values.count(values[at]) == 1))
            for at, scene in enumerate(scenes):
                own = [s.kind for s in scenes].count(scene.kind) == 1
                if own and candidate.question.endswith(f"the {scene.kind} ?"):
                    found[GROUPS[2]].append((candidate, frozenset({at}), values.count(values[at]) == 1))
    for candidate in candidates(story, "what_changed"):
        first = int(candidate.question.split()[4])
        alone = story.changes.count(story.changes[first - 1]) == 1
        found[GROUPS[3]].append((candidate, frozenset({first - 1, first}), alone))
    for group, possible in found.items():
        if possible:
            candidate, about, alone = rng.choice(possible)
            yield Asked(lay_out(candidate, rng), group, about, alone)


def evidence(engine: Topa, seen, asked: Question) -> tuple[int, dict[str, Tensor]]:
    """The choice, and for each measure how strongly each frame supports it: float [frames]."""
    values, valid = seen.values, seen.valid
    number = int(valid.sum())
    by_letter = engine.config.protocol == "selection"
    prompts = engine.prompter.candidates(asked.question, asked.options, number, by_letter)
    masked, seen_of = without_each(values, valid, number, None)
    total = values[:number].sum(dim=0)
    zeros, _ = without_each(values, valid, number, torch.zeros(values.shape[1]))
    mean = masked.clone()
    for frame in range(number):
        mean[frame + 1, frame] = normalize(total - values[frame], dim=0)
    every = valid.expand(len(masked), -1)
    stacked = torch.cat([masked, zeros[1:-1], mean[1:-1]]), torch.cat([seen_of, every[1:-1], every[1:-1]])
    costs = leave_one_out(engine.model, prompts, *stacked)
    logs = torch.stack([log_probabilities(cost, by_letter) for cost in costs])
    choice = int(logs[0].argmax())
    odds = logs[:, choice] - torch.log1p(-logs[:, choice].exp().clamp(max=1 - 1e-12))
    own = torch.stack([-cost[choice].double().mean() for cost in costs])
    part = [slice(1, number + 1), slice(number + 2, 2 * number + 2), slice(2 * number + 2, 3 * number + 2)]
    score = logs[:, choice]
    return choice, {
        OURS: score[0] - score[part[0]],
        "zeros in its place": score[0] - score[part[1]],
        "the other frames' mean in its place": score[0] - score[part[2]],
        "scored by log-odds": odds[0] - odds[part[0]],
        "scored by the option's own mean NLL": own[0] - own[part[0]],
        "attention": attention_to_frames(engine.model, prompts[choice], values, valid)[:number],
    }


def points(engine: Topa, videos: int, folder: Path) -> list[dict]:
    rng = random.Random(f"evidence {SEED}")
    told: list[dict] = []
    for number in track(range(videos), "asking about videos", videos):
        story = write_story(rng)
        path = folder / f"{number:06d}.mp4"
        write_video(story, path, seed=rng.randrange(1 << 30))
        seen = engine.encode_video(path)
        path.unlink()
        for asked in questions(story, rng):
            choice, found = evidence(engine, seen, asked.question)
            frames = len(next(iter(found.values())))
            right = {int(frame * len(story.scenes) / frames) for frame in range(frames)} & asked.scenes
            hits = {name: float(int(support.argmax()) in asked.scenes) for name, support in found.items()}
            hits["chance"] = len(right) / frames
            told.append(
                {"video": str(number), "group": asked.group, "alone": asked.alone,
                 "right": choice == asked.question.answer, "hits": hits}
            )  # fmt: skip
    return told


def table(told: list[dict]) -> list[dict]:
    """Shares and paired differences to ours, for all questions and for parts of them."""
    parts = {"all": told, "answered right": [t for t in told if t["right"]]}
    parts |= {group: [t for t in parts["answered right"] if t["group"] == group] for group in GROUPS}
    parts["right, and shown by no other scene"] = [t for t in parts["answered right"] if t["alone"]]
    parts |= {f"{group}, by no other scene": [t for t in parts[group] if t["alone"]] for group in GROUPS}
    rows = []
    for part, chosen in ((part, chosen) for part, chosen in parts.items() if chosen):
        videos = [t["video"] for t in chosen]
        ours = [t["hits"][OURS] for t in chosen]
        for name in told[0]["hits"]:
            hits = [t["hits"][name] for t in chosen]
            row = {"part": part, "measure": name, "questions": len(chosen), "share": told_as(share(hits, videos))}
            if name != OURS:
                row["difference"] = told_as(difference(hits, ours, videos))
            rows.append(row)
    return rows


def share(hits: list[float], videos: list[str]) -> IntervalEstimate:
    """The share of hits; where all hit or none, Wilson's interval, as resampling can't doubt that."""
    return wilson(hits, videos) if set(hits) in ({0.0}, {1.0}) else accuracy(hits, videos)


def told_as(found: IntervalEstimate) -> list[float]:
    return [round(x, 4) for x in (found.value, found.low, found.high)]


def speed(engine: Topa, folder: Path, rounds: int) -> dict:
    """Leave-one-out of one question with five options: processor milliseconds, and how many times ours is faster."""
    rng = random.Random(5)
    story = write_story(rng)
    path = folder / "timed.mp4"
    write_video(story, path, seed=1)
    asked = lay_out(candidates(story, "colour")[0], rng)
    seen = engine.encode_video(path)
    values, valid = seen.values, seen.valid
    number = int(valid.sum())
    prompts = engine.prompter.candidates(asked.question, asked.options, number, engine.config.protocol == "selection")
    versions = without_each(values, valid, number, None)

    def ours() -> list[list[Tensor]]:
        return leave_one_out(engine.model, prompts, *versions)

    def each_option() -> list[list[Tensor]]:
        return [
            [nll_of_targets(engine.model, [[prompt]], one[None], seen_of[None])[0][0] for prompt in prompts]
            for one, seen_of in zip(*versions, strict=True)
        ]

    def each_frame() -> list[list[Tensor]]:
        return [nll_of_targets(engine.model, [prompts], v[None], m[None])[0] for v, m in zip(*versions, strict=True)]

    def each_run() -> None:
        for _ in range(len(versions[0])):
            engine.ask(path, asked.question, asked.options)

    for slow in (each_option, each_frame):
        for a, b in zip(slow(), ours(), strict=True):
            torch.testing.assert_close(torch.cat(a), torch.cat(b), atol=1e-4, rtol=1e-4)
    ways = {
        "a whole run per frame, from the file": each_run,
        "a pass per frame and option": each_option,
        "a pass per frame": each_frame,
        "explain, all of it": lambda: explain(engine, seen, asked.question, asked.options),
        "leave-one-out": ours,
    }
    timing = interleaved(ways, rounds)
    return {
        "frames": number,
        "options": len(prompts),
        "milliseconds": {name: round(1000 * seconds, 1) for name, seconds in timing.seconds.items()},
        "ratio": {name: round(ratio, 2) for name, ratio in timing.ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--model", type=Path, help="default: the micro model")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    engine = topa.load(given.model, show=False)
    with tempfile.TemporaryDirectory() as folder:
        timing = speed(engine, Path(folder), given.rounds)
        rows = table(points(engine, given.videos, Path(folder)))
    if given.json is not None:
        save_figures(given.json, {"videos": given.videos, "rows": rows, "speed": timing})
    print("| part | measure | questions | share | minus leave-one-out |\n|---|---|---:|---|---|")
    for row in rows:
        share, gap = row["share"], row.get("difference")
        more = f"{gap[0]:+.3f} ({gap[1]:+.3f} to {gap[2]:+.3f})" if gap else ""
        print(
            f"| {row['part']} | {row['measure']} | {row['questions']} | "
            f"{share[0]:.3f} ({share[1]:.3f} to {share[2]:.3f}) | {more} |"
        )
    for name, ratio in timing["ratio"].items():
        print(f"{name}: {timing['milliseconds'][name]} ms, {ratio} times leave-one-out")


if __name__ == "__main__":
    main()
