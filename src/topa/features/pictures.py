"""Frames of a video that is kept as a folder of numbered pictures: `00001.jpg`, `00002.jpg`, so many a second.

Data sets publish videos so (TVQA, a part of MVBench). Sampled by time as a video file is; gives the same value.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from fractions import Fraction
from math import isfinite
from pathlib import Path

from PIL import Image, ImageOps

from ..core.errors import InputError, UsageError, VideoError
from .container import Timeline
from .video import SampledVideo, VideoInfo, targets

_NAME = re.compile(r"0*(\d+)\.(?:jpe?g|png|webp)", re.IGNORECASE)


def sample_pictures(
    folder: str | Path,
    count: int,
    fps: float,
    *,
    start: float | None = None,
    end: float | None = None,
    short_side: int | None = None,
) -> SampledVideo:
    """Sample `count` pictures at the centres of `count` equal segments of time.

    Picture n, from 1 on, appears at (n - 1) / fps seconds; where there is a number 0, picture n at n / fps. Where the
    picture of a time is missing, the last one before it is shown, or the first one of all, as a player would. start,
    end: seconds; by default the whole. short_side: shrink pictures so that their shorter side has this many pixels.

    truncated: a picture couldn't be read, and its neighbour stands for it. The duration ends with the last picture.
    Raises UsageError for an impossible count, rate or range, InputError where there is no folder or the range lies
    behind its end, VideoError where it holds no picture that can be read.
    """
    path = Path(folder)
    if count < 1 or (short_side is not None and short_side < 1) or not (isfinite(fps) and fps > 0):
        options = f"count={count}, fps={fps:g}, short_side={short_side}"
        raise UsageError(f"{path}: found {options}; expected positive numbers. Ask for more.")
    pictures = _Pictures(path, short_side)
    clock = Timeline(0, pictures.length, 1 / Fraction(fps).limit_denominator(10**6), 0, True)
    numbers = [pictures.shown_at(target) for target in targets(path, clock, count, start, end)]
    times = [float(place * clock.unit) for place, _ in numbers]
    info = VideoInfo(*pictures.size, float(clock.duration), 0, pictures.codec, pictures.count)
    return SampledVideo([picture for _, picture in numbers], times, pictures.damaged, info)


class _Pictures:
    """Pictures by their place in time, counted from 0: read when first shown, left out where they can't be.

    length: one more than the last place. count: files. size, codec: of the picture that was read last.
    """

    def __init__(self, path: Path, short_side: int | None) -> None:
        files = _numbered(path)
        origin = 0 if 0 in files else 1
        self._path = path
        self._files = {number - origin: file for number, file in files.items()}
        self._places = sorted(self._files)
        self._read: dict[int, Image.Image] = {}
        self._short_side = short_side
        self.length, self.count = self._places[-1] + 1, len(files)
        self.size, self.codec = (0, 0), ""
        self.damaged = False

    def shown_at(self, place: int) -> tuple[int, Image.Image]:
        """The last picture at or before a place, or the first one, and where it stands. Raises VideoError where no
        picture can be read."""
        while self._places:
            frame = self._places[max(0, bisect_right(self._places, place) - 1)]
            if frame in self._read:
                return frame, self._read[frame]
            try:
                with Image.open(self._files[frame]) as opened:
                    codec = opened.format or "unknown"
                    picture = ImageOps.exif_transpose(opened).convert("RGB")
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what a broken file may raise
                self.damaged = True
                self._places.remove(frame)
                continue
            self.size, self.codec = picture.size, codec.lower()
            self._read[frame] = _shrunk(picture, self._short_side)
        raise VideoError(
            f"{self._path}: found not one picture that can be read; expected at least one. Copy or download it again."
        )


def _numbered(path: Path) -> dict[int, Path]:
    if not path.is_dir():
        kind = "a file" if path.exists() else "nothing there"
        raise InputError(f"{path}: found {kind}; expected a folder of pictures, 00001.jpg and so on. Look at the path.")
    try:
        matches = [(match, own) for own in sorted(path.iterdir()) if (match := _NAME.fullmatch(own.name))]
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}). Give a folder that you may read.") from error
    if not matches:
        raise VideoError(
            f"{path}: found no numbered picture in it; expected 00001.jpg and so on. Extract the frames again."
        )
    return {int(match[1]): own for match, own in matches}


def _shrunk(picture: Image.Image, short_side: int | None) -> Image.Image:
    scale = 1.0 if short_side is None else min(1.0, short_side / min(picture.size))
    if scale == 1:
        return picture
    width, height = picture.size
    return picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
