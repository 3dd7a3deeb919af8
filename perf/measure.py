"""Measuring two ways to do the same work: interleaved processor time, and peak memory in processes of their own."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Work = Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """Median processor seconds of each way, and the median of the ratios between neighbours in time."""

    seconds: dict[str, float]
    ratios: dict[str, float]


@dataclass(frozen=True)
class Row:
    """One comparison. ratio: the baseline's figure over ours, in `unit`; target: what it is meant to reach."""

    name: str
    what: str
    baseline: float
    ours: float
    unit: str
    target: float | None
    ratio: float
    note: str = ""


def save_figures(path: Path, figures: dict[str, Any] | list[Any]) -> None:
    """Write figures as JSON: a line for each name, and for each record of a list."""
    path.write_text(_lines(figures) + "\n")


def _lines(figures: dict[str, Any] | list[Any]) -> str:
    if isinstance(figures, list):
        return "[\n" + ",\n".join(f" {json.dumps(record)}" for record in figures) + "\n]"
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {_value(value)}" for name, value in figures.items()) + "\n}"


def _value(value: Any) -> str:
    records = isinstance(value, list) and any(isinstance(record, dict) for record in value)
    return _lines(value) if records else json.dumps(value)


def interleaved(ways: dict[str, Work], rounds: int) -> Timing:
    """Run the ways in turn, once to warm up and `rounds` times to count; ratios are to the last way, which is ours."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            gc.collect()
            began = time.process_time()
            work()
            if number:
                taken[name].append(time.process_time() - began)
    ours = list(ways)[-1]
    ratios = {
        name: statistics.median(a / b for a, b in zip(found, taken[ours], strict=True)) for name, found in taken.items()
    }
    return Timing({name: statistics.median(found) for name, found in taken.items()}, ratios)


def peak_mb(make: Callable[[str], Work], way: str) -> float:
    """Peak resident memory of one run of `make(way)` above what was there before it, in MB, in a fresh process."""
    # Freed blocks go back to the system at once, so that a first run to warm up leaves nothing to grow into.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_peak, args=(make, way, send))
    process.start()
    send.close()
    try:
        peak: float = receive.recv()
    except EOFError:
        process.join()
        sys.exit(f"measuring the memory of {make.__name__}({way!r}) failed with exit code {process.exitcode}")
    process.join()
    return peak


def _peak(make: Callable[[str], Work], way: str, send: Any) -> None:
    import torch

    torch.set_num_threads(1)
    work = make(way)
    work()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
    before = memory_status("VmRSS")
    work()
    send.send((memory_status("VmHWM") - before) / 1024)


def memory_status(field: str) -> int:
    """Return a line of /proc/self/status, in KB."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1])
