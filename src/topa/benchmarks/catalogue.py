"""The benchmarks by name, and what is known of each before its files are read.

A loader is a module of `benchmarks.sets` with a `BENCHMARK`; `topa evaluate` reads them here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.registry import Registry
from .example import Example, Task
from .predictions import Prediction


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark.

    name: on the command line. title: as its authors write it. task: what is asked for. splits: the default first, each
    with its number of published records (None where that isn't known). read: (folder of the data, split) -> records in
    the order of the file; raises InputError that names file and place, or says which files were looked for.
    rows: which rows of the released features of a video a record is about, of how many: a slice. metric: the one that
    papers report: "accuracy", "CIDEr-D", "WUPS", "exact match". macro: whether papers also report the mean over the
    types. submission: what the benchmark's server takes, as a JSON value, of all records and their predictions, in one
    order; None where there is no server. subtitles: whether its records come with subtitles. elsewhere: whether a
    record's video is a path below a folder that may be another than that of the data.
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
    subtitles: bool = False
    elsewhere: bool = False


BENCHMARKS = Registry(
    "benchmark",
    {
        "egoschema": "topa.benchmarks.sets.egoschema:BENCHMARK",
        "nextqa": "topa.benchmarks.sets.nextqa:BENCHMARK",
        "nextqa-open": "topa.benchmarks.sets.nextqa_open:BENCHMARK",
        "star": "topa.benchmarks.sets.star:BENCHMARK",
        "tvqa": "topa.benchmarks.sets.tvqa:BENCHMARK",
        "mvbench": "topa.benchmarks.sets.mvbench:BENCHMARK",
        "msrvtt-captions": "topa.benchmarks.sets.msrvtt_captions:BENCHMARK",
        "vatex-captions": "topa.benchmarks.sets.vatex_captions:BENCHMARK",
        "videomme": "topa.benchmarks.sets.videomme:BENCHMARK",
        "perception": "topa.benchmarks.sets.perception:BENCHMARK",
        "intentqa": "topa.benchmarks.sets.intentqa:BENCHMARK",
        "activitynet-qa": "topa.benchmarks.sets.activitynet_qa:BENCHMARK",
        "msvd-qa": "topa.benchmarks.sets.msvd_qa:BENCHMARK",
        "msrvtt-qa": "topa.benchmarks.sets.msrvtt_qa:BENCHMARK",
        "own": "topa.benchmarks.sets.own:BENCHMARK",
        "microworld": "topa.benchmarks.sets.microworld:BENCHMARK",
        "microworld-open": "topa.benchmarks.sets.microworld:OPEN",
        "microworld-captions": "topa.benchmarks.sets.microworld:CAPTIONS",
    },
)
"""Lazy: a loader is imported when its benchmark is asked for."""
