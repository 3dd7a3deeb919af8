"""Measure the time and peak memory of a stage."""

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
    """Filled in when the stage ends. peak_mb: the process's largest resident memory during it, in MB (10^6 bytes)."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measure() -> Iterator[ResourceUsage]:
    """Measure a block. Without /proc the peak can't be reset; it is then the peak since the process started."""
    with suppress(OSError):
        _CLEAR.write_bytes(b"5")
    usage, start = ResourceUsage(), time.monotonic()
    try:
        yield usage
    finally:
        usage.seconds = time.monotonic() - start
        usage.peak_mb = _peak_mb()


def _peak_mb() -> float:
    if _STATUS.is_file() and (match := re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"))):
        return int(match[1]) * 1024 / 1e6
    if (resource := optional_module("resource")) is not None:
        peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    now = import_module("psutil").Process().memory_info()
    return float(getattr(now, "peak_wset", now.rss)) / 1e6  # peak_wset: of Windows
