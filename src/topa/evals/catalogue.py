"""The benchmarks by name, and what is known of each before its files are read.

A loader is a module of `evals.datasets` with a `BENCHMARK`; `topa evaluate` reads them here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.printable import Printable
from ..core.registry import Registry
from .example import Example, Task
from .predictions import Prediction


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark.

    name: on the command line. title: as its authors write it. task: what is asked for. splits: the default first, each
    with its number of published records (None where that isn't known). read: (folder of the data, split) -> records in
    the order of the file; raises InputError that names file and place, or says which files were looked for. rows: which
    rows of the released features of a video a record is about, of how many: a slice. metric: the one that papers
    report: "accuracy", "CIDEr-D", "WUPS", "exact match". macro: whether papers also report the mean over the types.
    submission: what the benchmark's server takes, as a JSON value, of all records and their predictions, in one order;
    None where there is no server. time_kinds: the kinds of question about order in time. subtitles: whether its records
    come with subtitles. elsewhere: whether a record's video is a path below a folder that may be another than that of
    the data.
    """

    name: str
    title: str
    task: Task
    splits: Mapping[str, int | None]
    read: Callable[[Path, str], Iterator[Example]]
    metric: str = "accuracy"
    macro: bool = False
    rows: Callable[[Example, int], slice] = lambda example, rows: slice(0, rows)
    submission: Callable[[Sequence[Example], Sequence[Prediction]], Any] | None = None
    time_kinds: tuple[str, ...] = ()
    subtitles: bool = False
    elsewhere: bool = False


BENCHMARKS = Registry(
    "benchmark",
    {
        "egoschema": "topa.evals.datasets.egoschema:BENCHMARK",
        "nextqa": "topa.evals.datasets.nextqa:BENCHMARK",
        "nextqa-open": "topa.evals.datasets.nextqa_open:BENCHMARK",
        "star": "topa.evals.datasets.star:BENCHMARK",
        "tvqa": "topa.evals.datasets.tvqa:BENCHMARK",
        "mvbench": "topa.evals.datasets.mvbench:BENCHMARK",
        "msrvtt-captions": "topa.evals.datasets.msrvtt_captions:BENCHMARK",
        "vatex-captions": "topa.evals.datasets.vatex_captions:BENCHMARK",
        "videomme": "topa.evals.datasets.videomme:BENCHMARK",
        "perception": "topa.evals.datasets.perception:BENCHMARK",
        "intentqa": "topa.evals.datasets.intentqa:BENCHMARK",
        "activitynet-qa": "topa.evals.datasets.activitynet_qa:BENCHMARK",
        "msvd-qa": "topa.evals.datasets.msvd_qa:BENCHMARK",
        "msrvtt-qa": "topa.evals.datasets.msrvtt_qa:BENCHMARK",
        "own": "topa.evals.datasets.own:BENCHMARK",
        "microworld": "topa.evals.datasets.microworld:BENCHMARK",
        "microworld-open": "topa.evals.datasets.microworld:OPEN",
        "microworld-captions": "topa.evals.datasets.microworld:CAPTIONS",
    },
)
"""Lazy: a loader is imported when its benchmark is asked for."""


@dataclass(frozen=True)
class BenchmarkRegistry(Printable):
    """All benchmarks."""

    benchmarks: tuple[Benchmark, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """Plain JSON."""
        names = ("name", "title", "task", "metric")
        return [{**{n: getattr(b, n) for n in names}, "splits": dict(b.splits)} for b in self.benchmarks]

    def lines(self) -> Iterator[str]:
        """Yield a line for each."""
        for b in self.benchmarks:
            splits = ", ".join(name if number is None else f"{name} {number:,}" for name, number in b.splits.items())
            yield f"{b.name:<20} {b.task:<8} {b.title}: {splits}"


def catalogue() -> BenchmarkRegistry:
    """Load all benchmarks."""
    return BenchmarkRegistry(tuple(BENCHMARKS.load(name) for name in BENCHMARKS))
