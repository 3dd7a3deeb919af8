"""Videos decoded in processes of their own: many at a time, and one that kills its decoder takes nothing else along.

The processes are started afresh, not forked, since a fork of a process with torch's threads may hang; nothing of torch
is loaded in them. A request is a line of JSON; a reply is a line of JSON and the pixels of its pictures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import LifoQueue
from threading import Lock, Timer
from types import TracebackType
from typing import IO, Any

from PIL import Image

from ..core.errors import TopaError, VideoError
from .clips import Clip
from .guard import Guard as Guard
from .guard import bare
from .pictures import sample_pictures
from .video import Rate, SampledVideo, VideoInfo, sample_frames

_GONE = (BrokenPipeError, EOFError, ValueError)  # what reading from, or writing to, a dead process ends in


@contextmanager
def decoders(workers: int) -> Iterator[Decoders]:
    """Start processes that decode, up to `workers` at a time; they end with the block."""
    pool = Decoders(workers)
    try:
        yield pool
    finally:
        pool.close()


class Decoders:
    """Processes that decode, each started when it is first needed, and anew after it has died.

    guard: for files of strangers: what one of them may take. Such files are videos, never folders of pictures."""

    def __init__(self, workers: int, guard: Guard | None = None) -> None:
        self._workers = workers
        self._guard = guard
        self._threads = ThreadPoolExecutor(workers)
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        self._alive: set[_Process] = set()
        for _ in range(workers):
            self._idle.put(None)

    def submit(self, clip: Clip, frames: int | Rate, short_side: int | None = None) -> Future[SampledVideo]:
        """Decode a clip when a process is free. The future raises VideoError, whatever is wrong with the video."""
        return self._threads.submit(self._decode, clip, frames, short_side)

    def ahead(
        self, clips: Iterable[Clip], frames: int | Rate, short_side: int | None = None
    ) -> Iterator[tuple[Clip, Future[SampledVideo]]]:
        """Yield clips in order with futures as of `submit`, decoded a few ahead of their use: never all in memory."""
        waiting: deque[tuple[Clip, Future[SampledVideo]]] = deque()
        for clip in clips:
            waiting.append((clip, self.submit(clip, frames, short_side)))
            if len(waiting) > self._workers:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()

    def close(self) -> None:
        """End all processes, and drop what they are working on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._alive):
            process.kill()
        self._threads.shutdown()
        for process in list(self._alive):
            process.end()

    def _decode(self, clip: Clip, frames: int | Rate, short_side: int | None) -> SampledVideo:
        process = self._idle.get()
        try:
            if process is None:
                process = _Process(self._guard)
                self._alive.add(process)
            return process.ask(clip, frames, short_side)
        except _GONE as error:
            died, process = process, None
            code, late = 0, False
            if died is not None:
                self._alive.discard(died)
                code, late = died.end(), died.late
            if late and self._guard is not None:
                raise VideoError(
                    f"{clip.path}: decoding it took longer than {self._guard.seconds:g} s, and was ended. "
                    "Give a shorter or a smaller video."
                ) from error
            why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            again = " To have it tried again, touch it and run the same command." if self._guard is None else ""
            raise VideoError(
                f"{clip.path}: the process that decoded it died ({why}). It needs more memory than there is, or "
                f"breaks the decoder: give another file.{again}"
            ) from error
        finally:
            self._idle.put(process)


class _Process:
    """One process that decodes one video at a time. late: it was killed because a video took too long."""

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self.late = False
        environment = dict(os.environ) if guard is None else bare(dict(os.environ))
        # In a session or group of its own, as Ctrl-C is for the run to answer. Found where this process finds its
        # modules.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__, *([] if guard is None else [json.dumps(asdict(guard))])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            env=environment | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    def ask(self, clip: Clip, frames: int | Rate, short_side: int | None) -> SampledVideo:
        """Request the decoding of a clip. Raises VideoError with the decoder's message, one of `_GONE` where it
        died."""
        if self._guard is None:
            return self._ask(clip, frames, short_side)
        with _Deadline(self._guard.seconds, self):
            sampled = self._ask(clip, frames, short_side)
        if self.late:  # killed after its last word
            raise EOFError
        return sampled

    def _ask(self, clip: Clip, frames: int | Rate, short_side: int | None) -> SampledVideo:
        requests, replies = self._pipes()
        count = asdict(frames) if isinstance(frames, Rate) else frames
        request = {"clip": asdict(clip), "frames": count, "short_side": short_side}
        requests.write(json.dumps(request).encode() + b"\n")
        requests.flush()
        reply = json.loads(replies.readline())  # of nothing, this is a ValueError
        if "error" in reply:
            raise VideoError(reply["error"])
        pictures = [_picture(replies, *size) for size in reply["sizes"]]
        return SampledVideo(
            [pictures[number] for number in reply["shown"]],
            reply["times"],
            reply["truncated"],
            VideoInfo(**reply["info"]),
        )

    def kill(self) -> None:
        """Kill the process: whoever waits for its reply learns that it died."""
        self._process.kill()

    def end(self) -> int:
        """End the process, if it still runs; return its exit code, negative for a signal."""
        requests, replies = self._pipes()
        with suppress(OSError):
            requests.close()
        replies.close()
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        return self._process.stdin, self._process.stdout


class _Deadline:
    """A timer that kills a process which takes too many seconds for a video."""

    def __init__(self, seconds: float, process: _Process) -> None:
        self._process = process
        self._met = False
        self._lock = Lock()
        self._timer = Timer(seconds, self._strike)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:  # from here on it can't strike the next video
            self._met = True
        self._timer.cancel()

    def _strike(self) -> None:
        with self._lock:
            if not self._met:
                self._process.late = True
                self._process.kill()


def _picture(source: IO[bytes], width: int, height: int) -> Image.Image:
    pixels = source.read(3 * width * height)
    if len(pixels) < 3 * width * height:
        raise EOFError
    return Image.frombytes("RGB", (width, height), pixels)


def sample_clip(
    clip: Clip, frames: int | Rate, short_side: int | None = None, guard: Guard | None = None
) -> SampledVideo:
    """Sample a clip's frames, of a video file or a folder of pictures, in this process. A rate and a guard are for
    video files. Raises what `sample_frames` and `sample_pictures` raise."""
    part: dict[str, Any] = {"start": clip.start, "end": clip.end, "short_side": short_side}
    if clip.fps is None or isinstance(frames, Rate) or guard is not None:
        return sample_frames(clip.path, frames, **part, guard=guard)
    return sample_pictures(clip.path, frames, clip.fps, **part)


def serve(requests: IO[bytes], replies: IO[bytes], guard: Guard | None = None) -> None:
    """Answer requests until the input ends."""
    for line in requests:
        if guard is not None:
            guard.meter()
        request = json.loads(line)
        pictures: list[Image.Image] = []
        try:
            frames = Rate(**request["frames"]) if isinstance(request["frames"], dict) else request["frames"]
            sampled = sample_clip(Clip(**request["clip"]), frames, request["short_side"], guard)
        except TopaError as error:
            reply: dict[str, Any] = {"error": str(error)}
        except Exception as error:  # whatever a library makes of a broken file is that file's failure
            reply = {"error": f"{request['clip']['path']}: can't be decoded ({type(error).__name__}: {error})."}
        else:
            reply, pictures = _reply(sampled)
        replies.write(json.dumps(reply).encode() + b"\n")
        for picture in pictures:
            replies.write(picture.tobytes())
        replies.flush()


def _reply(sampled: SampledVideo) -> tuple[dict[str, Any], list[Image.Image]]:
    """Send the frames; one that is shown several times is sent once."""
    pictures = list({id(picture): picture for picture in sampled.frames}.values())
    places = {name: place for place, name in enumerate(dict.fromkeys(map(id, sampled.frames)))}
    reply = {
        "sizes": [picture.size for picture in pictures],
        "shown": [places[id(picture)] for picture in sampled.frames],
        "times": sampled.times,
        "truncated": sampled.truncated,
        "info": asdict(sampled.info),
    }
    return reply, pictures


if __name__ == "__main__":
    # Where memory runs out, this process is to be ended, not the one that waits for it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(b"500")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not print into an answer
    limits = Guard(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else None
    if limits is not None:
        limits.confine()
    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers, limits)
