"""Frames of a video file, chosen by time: exact, and decoding no more than needed.

Reads a path from the user, gives upright RGB pictures to `encode`, `ask` and `index`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import av
from PIL import Image

from ..core.errors import InputError, UsageError, VideoError
from .container import Timeline, VideoFile
from .guard import Guard

_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
_STEPS_BACK = (0, 1, 4, 16, 64)  # seconds before a target, where a seek lands behind it


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file is.

    width, height: pixels of the upright picture. duration_s: seconds from the first frame's start to the last one's
    end, measured and not claimed. rotation: degrees counter-clockwise by which stored pictures are turned to stand
    upright (0, 90, 180 or 270). frames: their number as the header claims it, 0 where it is silent.
    """

    width: int
    height: int
    duration_s: float
    rotation: int
    codec: str
    frames: int


@dataclass(frozen=True, slots=True)
class Rate:
    """How many frames to sample: `per_second`, at least one and at most `max_frames`."""

    per_second: float
    max_frames: int

    def count(self, seconds: float) -> int:
        """Return the number of frames for a duration in seconds."""
        return max(1, min(self.max_frames, round(seconds * self.per_second)))


@dataclass(frozen=True, slots=True)
class SampledVideo:
    """Frames of a video in order of time.

    frames: upright RGB pictures. times: seconds after the video's first frame at which each of them appears.
    truncated: the file is damaged or ends before its header says; the frames are those that could be had.
    """

    frames: list[Image.Image]
    times: list[float]
    truncated: bool
    info: VideoInfo


def probe(path: str | Path) -> VideoInfo:
    """Size, true duration, rotation and codec of a video; decodes its first frame only.

    Raises InputError where there is no file, VideoError where not a single frame can be had.
    """
    with VideoFile(Path(path)) as file, _blame(file):
        _, frame = _FrameDecoder(file).shown_at(file.timeline.start)
        return _info(frame, file)


def sample_frames(
    path: str | Path,
    count: int | Rate,
    *,
    start: float | None = None,
    end: float | None = None,
    short_side: int | None = None,
    guard: Guard | None = None,
) -> SampledVideo:
    """Sample `count` frames at the centres of `count` equal segments of time; a rate says how many of the whole video.

    start, end: seconds after the first frame; by default the whole video. An end behind the last frame means the last
    frame. short_side: shrink pictures so that their shorter side has this many pixels; never enlarges.

    A target time gives the frame that a player shows then: the last one that appeared at or before it. A frame shown
    at several targets is returned for each of them with its own time (a video of one frame gives `count` equal
    entries), so there are always `count`. In a cut file the segments divide the time that can be read.

    Raises UsageError for an impossible count or range, InputError where there is no file or the range lies behind the
    end, VideoError where not a single frame can be had, or a stranger's video is more than its guard allows.
    """
    limit = count.per_second * count.max_frames if isinstance(count, Rate) else count
    if limit <= 0 or (short_side is not None and short_side < 1):
        raise UsageError(f"{path}: found count={count}, short_side={short_side}; expected 1 or more. Ask for more.")
    with VideoFile(Path(path), guard) as file, _blame(file):
        clock, decoder = file.timeline, _FrameDecoder(file)
        if isinstance(count, Rate):
            count = count.count(float(clock.duration))
        pictures: list[Image.Image] = []
        times: list[float] = []
        for target in targets(file.path, clock, count, start, end):
            when, frame = decoder.shown_at(target)
            seconds = float((when - clock.start) * clock.unit)
            pictures.append(pictures[-1] if times and times[-1] == seconds else _picture(frame, short_side))
            times.append(seconds)
        return SampledVideo(pictures, times, decoder.damaged or not clock.complete, _info(frame, file))


def targets(path: Path, clock: Timeline, count: int, start: float | None, end: float | None) -> list[int]:
    """Return the centres of `count` equal segments of [start, end], in units of the clock; exact, because they often
    fall on a frame's first tick. Raises UsageError for an impossible range, InputError for one that lies behind the
    end."""
    # Seconds typed by people are decimal: 0.3 means 3/10, not the binary number just below it.
    first = Fraction(0) if start is None else Fraction(start).limit_denominator(10**6)
    last = clock.duration if end is None else min(Fraction(end).limit_denominator(10**6), clock.duration)
    if first < 0 or (end is not None and end <= first):
        raise UsageError(f"{path}: found start={start}, end={end}; expected 0 <= start < end. Give other seconds.")
    if first >= clock.duration:
        raise InputError(
            f"{path}: found a start of {start:g} s in a video of {float(clock.duration):g} s; "
            "expected a start before its end. Give an earlier one."
        )
    half = (last - first) / (2 * count)
    return [clock.start + floor((first + (2 * k + 1) * half) / clock.unit) for k in range(count)]


class _FrameDecoder:
    """A decoder that goes forward from target to target, and jumps only where a keyframe lies between."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self._target = file.timeline.start
        self._run = self._decode(trusted=True)
        self._before: tuple[int, Any] | None = None
        self._newest: tuple[int, Any] | None = None
        self.damaged = False

    def shown_at(self, target: int) -> tuple[int, Any]:
        """Return the last frame that appears at or before a time, and when it does; the first one where there is none.

        Targets must ascend. Raises VideoError where nothing can be decoded.
        """
        self._target = target
        if self._keyframe_between(target):
            self._jump(target)
        while self._newest is None or self._newest[0] <= target:
            self._before = self._newest or self._before
            self._newest = next(self._run, None)
            if self._newest is None:
                break
        frame = self._before or self._newest
        if frame is None:
            raise VideoError(
                f"{self._file.path}: found not one frame that can be decoded; expected at least one. "
                "Copy or download it again, or give another file."
            )
        return frame

    def _keyframe_between(self, target: int) -> bool:
        """Return whether a keyframe lies between the newest decoded frame and a target."""
        clock, entries = self._file.timeline, self._file.stream.index_entries
        entry = entries.search_timestamp(target - clock.delay)
        if entry < 0:
            return False
        newest = self._newest or self._before
        # The index carries decoding times.
        return bool(entries[entry].timestamp + clock.delay > (clock.start if newest is None else newest[0]))

    def _jump(self, target: int) -> None:
        """Go on from a keyframe at or before a target; from the start where none can be reached."""
        clock = self._file.timeline
        for seconds in _STEPS_BACK:
            if not self._file.seek(max(clock.start, target - int(seconds / clock.unit))):
                return
            run = self._decode(trusted=False)
            first = next(run, None)
            if first is not None and first[0] <= target:
                self._before, self._newest, self._run = None, first, run
                return
        self._file.rewind()
        self._before, self._newest, self._run = None, None, self._decode(trusted=True)

    def _decode(self, *, trusted: bool) -> Iterator[tuple[int, Any]]:
        """Yield frames in order of time from the file's position.

        Behind a seek the first frames may be built on what was never read: nothing before a keyframe is trusted.
        """
        stream = self._file.stream
        shown_by_now: int | None = None
        packets = self._file.container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                # The rest can't be read; what waits in the decoder can still be had.
                self.damaged = True
                packet = None
            try:
                if packet is None:
                    frames = stream.decode(None)
                else:
                    # A packet that a later one replaces before the target is reached is never shown; where no other
                    # frame is built on it either, its decoding can be spared.
                    replaced = packet.pts is not None and shown_by_now is not None and packet.pts < shown_by_now
                    stream.codec_context.skip_frame = "NONREF" if replaced else "DEFAULT"
                    if packet.pts is not None and packet.pts <= self._target and not replaced:
                        shown_by_now = packet.pts
                    frames = packet.decode()
            except av.error.EOFError:
                return
            except MemoryError:  # not damage: with more memory other frames would be found
                raise
            except av.error.FFmpegError:
                self.damaged |= trusted
                frames = []
            for frame in frames:
                when = frame.dts if frame.pts is None else frame.pts
                trusted |= frame.key_frame
                if trusted and when is not None:
                    self.damaged |= frame.is_corrupt
                    if self._file.guard is not None:  # a header may have claimed less
                        self._file.guard.check_pixels(self._file.path, frame.width, frame.height)
                    yield when, frame
            if packet is None:
                return


@contextmanager
def _blame(file: VideoFile) -> Iterator[None]:
    """Turn what FFmpeg still complains about into a VideoError that names the file."""
    try:
        yield
    except MemoryError as error:
        raise VideoError(
            f"{file.path}: decoding it takes more memory than there is. Make the video smaller, such as 1280 x 720."
        ) from error
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{file.path}: can't be decoded ({error.strerror}); expected a video that FFmpeg can read. "
            "Check that it plays in a video player, or give another file."
        ) from error


def _info(frame: Any, file: VideoFile) -> VideoInfo:
    turn = frame.rotation % 360
    width, height = (frame.height, frame.width) if turn in (90, 270) else (frame.width, frame.height)
    seconds = float(file.timeline.duration)
    return VideoInfo(width, height, seconds, turn, file.stream.codec_context.codec.canonical_name, file.stream.frames)


def _picture(frame: Any, short_side: int | None) -> Image.Image:
    """Convert a decoded frame to an upright RGB picture."""
    turn = frame.rotation % 360
    scale = 1.0 if short_side is None else min(1.0, short_side / min(frame.width, frame.height))
    if scale < 1:
        size = {"width": round(frame.width * scale), "height": round(frame.height * scale)}
        frame = frame.reformat(**size, format="rgb24", interpolation="AREA")
    picture: Image.Image = frame.to_image()
    return picture.transpose(_TURNS[turn]) if turn in _TURNS else picture
