"""The configs of the verbs that measure."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import UsageError
from ..core.protocols import Protocol
from ..core.verbs import VerbConfig, argument, option

_WORKERS = 8  # at most, unless more are asked for


def _benchmarks() -> Iterable[str]:
    from .catalogue import BENCHMARKS

    return BENCHMARKS


class EvaluateConfig(VerbConfig):
    """Measure a model on a benchmark: every published record, with intervals, baselines and a report.

    Example:  topa evaluate microworld --baselines --out micro-evaluation
              topa evaluate nextqa --data NExT-QA --model topa-7b --out nextqa-7b
    """

    benchmark: str = argument("Its name; --list shows all.", complete=_benchmarks)
    out: Path = option("Folder for predictions and report.")
    data: Path | None = option("Folder of the published files and videos. The micro world has its own.", default=None)
    videos: Path | None = option(
        "own: the folder that the videos' paths start from. Default: the data's.", default=None
    )
    split: str | None = option("Default: the one that papers report.", default=None)
    model: str | None = option(
        "An aligned model: a folder, or on the hub org/name or org/name@revision. Default: the micro model.",
        default=None,
    )
    protocol: Protocol | None = option(
        "How options are compared: selection (letters), logits (their text) or similarity (the one nearest to a "
        "generated answer). Default: the model's own.",
        default=None,
    )
    permutations: bool = option("With selection: list options in every cyclic order, and average.", default=False)
    baselines: bool = option(
        "Also what a score must beat: blind, shuffled frames, a single frame, no projection.", default=False
    )
    frames: int | None = option("Frames of each video. Default: as many as the model reads.", default=None)
    subtitles: bool = option("Read what is said, where there are subtitles.", default=False)
    features: Path | None = option(
        "Features that are there, or go there; or released ones: .pth, or .npy files.", default=None
    )
    limit: int | None = option("Only so many records, drawn by the seed.", default=None)
    max_tokens: int | None = option("Of a generated answer at most. Default: 40, captions 80.", default=None)
    require_all: bool = option("A missing video is an error.", default=False)
    coco: bool = option("The classic toolkit's words, METEOR and SPICE too; needs Java.", default=False)
    workers: int | None = option("Processes that decode videos.", default=None)
    processes: int | None = option("Processes that answer, one for each GPU; each takes its share.", default=None)
    seed: int = option("Of intervals, of shown examples, and of --limit.", default=0)

    def __post_init__(self) -> None:
        """Raise UsageError for a benchmark that nobody knows."""
        from .catalogue import BENCHMARKS

        super().__post_init__()
        BENCHMARKS.load(self.benchmark)

    @property
    def decoders(self) -> int:
        """Processes that decode videos: as many as there are cores, unless others are asked for."""
        return self.workers or min(os.cpu_count() or 1, _WORKERS)


class CompareConfig(VerbConfig):
    """Say whether one of two evaluations is better, and which answers differ.

    Example:  topa compare nextqa-7b nextqa-13b --out nextqa-compared
    """

    a: Path = argument("Folder of an evaluation.")
    b: Path = argument("Another one of the same records.")
    out: Path | None = option("Also write comparison.json and comparison.md into this folder.", default=None)
    flips: int = option("Show so many records that only one of both answered right.", min=0, default=10)
    seed: int = option("Of intervals.", default=0)


class ReproduceConfig(VerbConfig):
    """The numbers of a source's tables beside ours; "no data" or "no model" where something isn't at hand.

    Example:  topa reproduce microworld --out micro-tables
              topa reproduce paper --data benchmarks --models models --out paper-tables
    """

    recipe: str = argument(
        "A recipe that comes with topa (paper, microworld), or a TOML file.", complete=lambda: ("paper", "microworld")
    )
    out: Path = option("Folder for evaluations and tables.")
    data: Path | None = option("Folder with a folder for each benchmark, named as topa names it.", default=None)
    models: Path | None = option("Folder with a folder for each saved model.", default=None)
    table: tuple[str, ...] = option("Only this table; may be given again.", default=())
    limit: int | None = option("Records of each evaluation, for a first look.", default=None)


class DemoConfig(VerbConfig):
    """The whole method on the micro world: write Tideos, encode, align, answer questions about real mp4 files.

    Example:  topa demo --out my-demo --seed 3
    """

    out: Path = option("Folder for everything that is made.", default=Path("topa-demo"))
    seed: int = option("Seed of data, alignment and intervals.", default=0)
    quick: bool = option("A smoke run: small data, short alignment.", default=False)
    full: bool = option("Also the runs that train again, over three seeds: about ten times the work.", default=False)
    serve: bool = option(
        "Then open a page on its model and its videos; at once where the demo is finished in --out.", default=False
    )
    port: int = option("Of --serve; 0 takes a free one.", min=0, max=65535, default=8000)

    def __post_init__(self) -> None:
        """Raise UsageError for a demo that is both quick and full."""
        super().__post_init__()
        if self.quick and self.full:
            raise UsageError("demo: --quick and --full exclude each other. Give one of them.")

    @property
    def words(self) -> list[str]:
        """The words that give its scale and its seed on the command line."""
        seed = ["--seed", str(self.seed)] if self.seed else []
        return [*seed, *(["--quick"] if self.quick else []), *(["--full"] if self.full else [])]
