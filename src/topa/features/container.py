"""An open video file, and the time that it really covers.

Reads a path from the user for `video`; nothing is decoded here, only packets are looked at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.format import Flags
from av.stream import Disposition

from ..core.errors import InputError, VideoError
from .guard import FORMATS, THREADS, Guard

# FFmpeg demuxers that turn text into pictures or open further files named inside the given one.
_REFUSED = frozenset({"tty", "concat", "hls", "dash", "imf", "lavfi"})
# A title in another encoding than UTF-8 breaks nothing, as it isn't read; since 19 PyAV takes no word about it.
_METADATA = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
_NEXT = "Check that it plays in a video player, or give another file."


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of a video stream, from its packets and not from its header.

    start, end: in units of `unit` seconds, on the stream's own clock; the end is where the last frame ends.
    delay: how far presentation lies behind decoding at a keyframe (B-frames), in the same units.
    complete: False where the file ends before its header says, or a packet is damaged.
    """

    start: int
    end: int
    unit: Fraction
    delay: int
    complete: bool

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's start to the last one's end."""
        return (self.end - self.start) * self.unit


class VideoFile:
    """An open file, its container and its video stream, at the first packet; use it in a `with`.

    guard: for a stranger's file. Raises InputError where there is no readable file, VideoError where it holds no video,
    or one that the guard refuses.
    """

    def __init__(self, path: Path, guard: Guard | None = None) -> None:
        self.path = path
        self.guard = guard
        self.container, self.stream = _open(path, guard)
        try:
            self.timeline = self._measure()
            if guard is not None:
                guard.check_duration(path, self.timeline.duration)
            self.rewind()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.container.close()

    def seek(self, when: int) -> bool:
        """Go to a keyframe at or before `when` (the stream's clock). False: this file can't, and nothing moved."""
        try:
            self.container.seek(when, stream=self.stream, backward=True)
        except av.error.FFmpegError:
            return False
        return True

    def rewind(self) -> None:
        """Go back to the first packet."""
        # A broadcast stream seeks by guessing: only opening it again leads to the first packet for sure.
        if self.container.format.flags & Flags.ts_discont.value or not self.seek(self.timeline.start):
            self._reopen()

    def _measure(self) -> Timeline:
        """Measure the true timeline, cheaply: the packets behind the last keyframe say where the video ends.

        A header may claim anything (cut files, variable frame rates, recordings that were never closed). Where
        nothing can be read near the claimed end, all packets are looked at.
        """
        start, claimed = self.stream.start_time, self._claimed_end()
        packets = _Packets(self.stream.index)
        if start is not None and claimed is not None and self.seek(max(start, claimed - _reorder(self.stream))):
            packets.read(self.container)
        if packets.end is None or start is None:
            self._reopen()
            before, packets = packets, _Packets(self.stream.index)
            packets.read(self.container)
            packets.complete &= before.complete
            start = packets.start if start is None else start
        if packets.end is None or start is None:
            raise VideoError(
                f"{self.path}: found not one whole video packet with a time; expected at least one frame. {_NEXT}"
            )
        unit = Fraction(self.stream.time_base)
        complete = packets.complete
        if claimed is not None:
            # Slack, because headers round, and a still picture at the end may be shown for longer than is stored.
            missing = claimed * unit - max(packets.end * unit, packets.others_end)
            complete &= missing <= max(Fraction(1), (claimed - start) * unit / 20)
        return Timeline(start, max(packets.end, start + 1), unit, max(packets.delay, 0), complete)

    def _claimed_end(self) -> int | None:
        """Return the end of the video according to its header, on the stream's clock."""
        start = self.stream.start_time or 0
        if self.stream.duration:
            return int(start + self.stream.duration)
        if self.container.duration:
            return int(start + Fraction(self.container.duration, av.time_base) / self.stream.time_base)
        return None

    def _reopen(self) -> None:
        self.container.close()
        self.container, self.stream = _open(self.path, self.guard)


class _Packets:
    """The times of the packets of one stream."""

    def __init__(self, index: int) -> None:
        self._index = index
        self.start: int | None = None
        self.end: int | None = None
        self.others_end = Fraction(0)
        self.delay = 0
        self.complete = True

    def read(self, container: Any) -> None:
        """Read every packet from here to the end of the file."""
        latest: list[int] = []
        length = 0
        try:
            for packet in container.demux():
                when = packet.dts if packet.pts is None else packet.pts
                if when is None:
                    continue
                if packet.stream.index != self._index:
                    self.others_end = max(self.others_end, (when + (packet.duration or 0)) * packet.time_base)
                    continue
                if packet.is_corrupt:
                    self.complete = False
                    continue
                if packet.is_keyframe and packet.dts is not None and not self.delay:
                    self.delay = when - packet.dts
                self.start = when if self.start is None else min(self.start, when)
                latest = sorted({*latest, when})[-2:]
                if when == latest[-1]:
                    length = packet.duration or 0
        except av.error.FFmpegError:
            self.complete = False
        if latest:
            # Some containers store no length for a frame: the gap before the last one is the best guess.
            self.end = latest[-1] + (length or latest[-1] - latest[0])


def _reorder(stream: Any) -> int:
    """Return two seconds on the stream's clock: more than packets are ever out of order."""
    return int(2 / stream.time_base)


def _open(path: Path, guard: Guard | None) -> tuple[Any, Any]:
    if path.is_dir():
        raise InputError(f"{path}: found a folder; expected a video file. Name the files in it, e.g. {path}/*.mp4")
    if not path.is_file():
        raise InputError(f"{path}: found nothing there; expected a video file. Check the name.")
    size = path.stat().st_size
    if size == 0:
        raise VideoError(f"{path}: found an empty file; expected a video. Copy or download it again.")
    # An absolute path can't be taken for a protocol, and nothing inside a file may reach the network.
    options = {"protocol_whitelist": "file"}
    if guard is not None:
        options["format_whitelist"] = ",".join(FORMATS)
    try:
        container = av.open(str(path.absolute()), options=options, **_METADATA)
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError) and not os.access(path, os.R_OK):  # FFmpeg says so of contents too
            raise InputError(
                f"{path}: found a file that may not be read; expected a video. Change its mode."
            ) from error
        raise VideoError(
            f"{path}: found {size} bytes that are not a video ({error.strerror}); "
            f"expected mp4, mkv, webm, avi or the like. {_NEXT}"
        ) from error
    try:
        if set(container.format.name.split(",")) & _REFUSED:
            raise VideoError(f"{path}: found a file of kind '{container.format.name}'; expected a video. {_NEXT}")
        stream = next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)
        if stream is None:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "no"
            raise VideoError(f"{path}: found {kinds} streams only; expected a video stream. {_NEXT}")
        if stream.codec_context is None:
            raise VideoError(f"{path}: found a video codec that FFmpeg can't decode; expected a common one. {_NEXT}")
        if guard is not None:
            guard.check_pixels(path, stream.codec_context.width, stream.codec_context.height)
            stream.codec_context.thread_count = THREADS
    except BaseException:
        container.close()
        raise
    stream.thread_type = "AUTO"
    return container, stream
