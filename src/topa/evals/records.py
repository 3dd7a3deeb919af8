"""The records of an evaluation: which benchmark, which files, which of the records."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError, UsageError
from ..core.progress import console
from ..core.registry import unknown
from ..microworld.writer import make_videos
from .catalogue import BENCHMARKS, Benchmark
from .datasets import own
from .example import Example

if TYPE_CHECKING:
    from .verbs import EvaluateConfig

MICRO_VIDEOS = 220
MICRO_SEED = 2_000_003
"""Added to the seed of an evaluation: of the micro world's videos, which no training has."""


def benchmark_of(asked: EvaluateConfig) -> Benchmark:
    """Return the benchmark by its name. Raises UsageError for an unknown one, or for what it doesn't have."""
    benchmark: Benchmark = BENCHMARKS.load(asked.benchmark)
    if asked.split is not None and asked.split not in benchmark.splits:
        raise unknown(f"split of {benchmark.name}", asked.split, benchmark.splits)
    if asked.subtitles and not benchmark.subtitles:
        raise UsageError(f"--subtitles: {benchmark.name} comes without subtitles. Leave it out.")
    if asked.videos is not None and not benchmark.elsewhere:
        raise UsageError(
            f"--videos: those of {benchmark.name} are looked for in --data, under the names that they are published "
            "with. Leave it out, or link the folder into --data."
        )
    if asked.permutations and benchmark.task != "choice":
        raise UsageError(f"--permutations: {benchmark.name} has no options. Leave it out.")
    return benchmark


def split_of(asked: EvaluateConfig, benchmark: Benchmark) -> str:
    """Return the split that is evaluated, by default the benchmark's first."""
    return asked.split or next(iter(benchmark.splits))


def records(asked: EvaluateConfig, benchmark: Benchmark, data: Path) -> list[Example]:
    """Return all records, or with `limit` so many of them, drawn by the seed and in the published order.

    Raises InputError where there are none, or two have one id.
    """
    examples = list(benchmark.read(data, split_of(asked, benchmark)))
    if asked.videos is not None:
        examples = [replace(example, path=asked.videos / example.video) for example in examples]
    if not examples:
        raise InputError(f"{data}: found no records of {benchmark.name}; expected at least one. Download it again.")
    ids: set[str] = set()
    for example in examples:
        if example.id in ids:
            raise InputError(f"{data}: found the id {example.id!r} twice; expected ids that differ. Mend the file.")
        ids.add(example.id)
    if asked.limit is None or asked.limit >= len(examples):
        return examples
    if asked.limit < 1:
        raise UsageError(f"--limit: found {asked.limit}; expected 1 or more.")
    chosen = random.Random(f"limit {asked.seed}").sample(range(len(examples)), asked.limit)
    return [examples[number] for number in sorted(chosen)]


def is_micro(asked: EvaluateConfig) -> bool:
    """Return whether it is of the micro world, whose videos are rendered where there are none."""
    return asked.benchmark.startswith("microworld")


def make_micro(asked: EvaluateConfig, show: bool) -> None:
    """Render the micro world's videos, where there are none. The list of questions is written behind them."""
    if is_micro(asked) and not (data_folder(asked) / own.NAME).is_file():
        console.print(f"rendering {MICRO_VIDEOS} videos of the micro world into {data_folder(asked)}")
        make_videos(data_folder(asked), MICRO_VIDEOS, asked.seed + MICRO_SEED, show=show)


def data_folder(asked: EvaluateConfig) -> Path:
    """Return the folder of the benchmark's files.

    Raises InputError where it isn't there, UsageError where none is named.
    """
    if asked.videos is not None and not asked.videos.is_dir():
        there = "a file" if asked.videos.exists() else "nothing there"
        raise InputError(f"{asked.videos}: found {there}; expected the folder of the videos: --videos DIR")
    if asked.data is not None:
        if not asked.data.exists():
            if is_micro(asked):
                return asked.data
            raise InputError(f"{asked.data}: found nothing there; expected the files of {asked.benchmark}: --data DIR")
        return asked.data
    if is_micro(asked):
        return asked.out / "data"
    raise UsageError(
        f"evaluate {asked.benchmark}: found no folder of data; expected the published files, which topa doesn't "
        "download. Name their folder: --data DIR"
    )


def video_root(asked: EvaluateConfig, data: Path) -> Path:
    """Return the folder that clips are named from."""
    if asked.videos is not None:
        return asked.videos
    return data if data.is_dir() else data.parent
