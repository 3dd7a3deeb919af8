"""What decoding a video of a stranger may take, and how the process that decodes it is confined.

A file may lie in its header, be a list of other files, or be made to fill the memory or to take hours. Limits of the
system bind the process whatever the decoder does; those of the video are refused in words before anything is decoded.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

from ..core.errors import VideoError
from ..core.platforms import optional_module

FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "mxf", "mjpeg")
"""FFmpeg demuxers of strangers' files: `mov` is mp4 and 3gp too, `matroska` webm. None opens a second file by itself,
as playlists, manifests, scripts of `concat`, sequences of pictures and subtitles do."""
THREADS = 4
"""Of FFmpeg for one video: each keeps pictures of its own, so that more would need more memory on larger machines."""
_resource = optional_module("resource")
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Guard:
    """seconds: that one video may take, by the clock on the wall; then its process is killed. memory: bytes of address
    space of the process. longest: seconds of a video. pixels: of a picture, stored."""

    seconds: float
    memory: int
    longest: float
    pixels: int

    def check_duration(self, path: Path, duration: Fraction) -> None:
        """Raise VideoError for a video that is too long."""
        if duration > self.longest:
            raise VideoError(
                f"{path}: found a video of {float(duration):.1f} s; expected at most {self.longest:g} s. "
                "Cut it into parts, and give one of them."
            )

    def check_pixels(self, path: Path, width: int, height: int) -> None:
        """Raise VideoError for pictures that are too large."""
        if width * height > self.pixels:
            raise VideoError(
                f"{path}: found pictures of {width} x {height} pixels; expected at most {self.pixels} pixels in one. "
                "Make the video smaller, such as 1280 x 720."
            )

    def confine(self) -> None:
        """Limit this process for good: its memory, and no files written, core dumps included. See `unbound`."""
        if sys.platform != "darwin":
            _lower("RLIMIT_AS", self.memory)
        _lower("RLIMIT_FSIZE", 0)
        _lower("RLIMIT_CORE", 0)

    def meter(self) -> None:
        """Limit the processor time of the next video: whoever watches the clock may be gone."""
        if _resource is None:
            return
        spent = _resource.getrusage(_resource.RUSAGE_SELF)
        allowed = ceil(spent.ru_utime + spent.ru_stime + self.seconds * THREADS)
        _, hard_limit = _resource.getrlimit(_resource.RLIMIT_CPU)
        _resource.setrlimit(_resource.RLIMIT_CPU, (_at_most(allowed, hard_limit), hard_limit))


def unbound() -> str:
    """Say what `Guard` can't limit on this system; nothing on Linux."""
    if _resource is None:
        return "its memory, its time on the processor and the files that it writes"
    return "its memory" if sys.platform == "darwin" else ""  # whose kernel has no such limit


def bare(environment: dict[str, str]) -> dict[str, str]:
    """Reduce an environment to what a confined process needs: no secrets. Its allocator reserves little address
    space."""
    needed = {name: environment[name] for name in _KEPT if name in environment}
    return needed | {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _lower(name: str, value: int) -> None:
    if _resource is None:
        return
    kind = getattr(_resource, name)
    _, hard_limit = _resource.getrlimit(kind)
    value = _at_most(value, hard_limit)
    _resource.setrlimit(kind, (value, value))


def _at_most(value: int, hard_limit: int) -> int:
    return value if _resource is None or hard_limit == _resource.RLIM_INFINITY else min(value, hard_limit)
