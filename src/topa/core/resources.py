"""Seconds and peak memory of a stage of work."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .platforms import optional_module

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(slots=True)
class ResourceUsage:
    """Filled in when the stage ends. peak_mb: the process' largest resident memory during it, in MB (10^6 bytes)."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measure() -> Iterator[ResourceUsage]:
    """Measure what happens inside. Where the system can't reset the peak (no /proc), it is the peak since the start."""
    with suppress(OSError):
        _CLEAR.write_bytes(b"5")
    spent, began = ResourceUsage(), time.monotonic()
    try:
        yield spent
    finally:
        spent.seconds = time.monotonic() - began
        spent.peak_mb = _peak_mb()


def _peak_mb() -> float:
    if _STATUS.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"))):
        return int(found[1]) * 1024 / 1e6
    if (resource := optional_module("resource")) is not None:
        peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    now = import_module("psutil").Process().memory_info()
    return float(getattr(now, "peak_wset", now.rss)) / 1e6  # peak_wset: of Windows
