"""What a library of videos promises, measured: `python perf/library.py --json perf/library.json`.

One function a figure, by name in FIGURES; `run.py --only library` runs them all. Both ways of a comparison are asserted
to give the same first. `--only NAME` measures one figure and keeps those of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from measure import Row, save_figures

from topa.core.embedded import resolve
from topa.features.encoder import Encoder, identify
from topa.features.store import FeatureStore
from topa.features.video import Rate, sample_frames
from topa.library.catalogue import read_finished
from topa.library.index import index
from topa.library.towers import Towers
from topa.library.verbs import IndexConfig

ENCODER = "microworld/clip"
VIDEOS, SECONDS, WIDTH, HEIGHT, FPS = 12, 30, 1280, 720, 25
FILES = 10_000
QUESTION = 1.15  # times the language model's own time that a question may take
SLOWER = 1.2  # how much longer than decoding and encoding alone an index may take
AGAIN_S = 5.0


def film(path: Path, seconds: float, width: int, height: int) -> bytes:
    """An H.264 file of moving noise and gradients, and its bytes."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(int(seconds * FPS)):
            picture = np.roll(noise, (number * 2, number * 5), (0, 1))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def copies(data: bytes, folder: Path, count: int) -> list[Path]:
    """Files that play alike and differ in their last bytes, an atom that players skip."""
    folder.mkdir()
    paths = [folder / f"{number:05d}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(data + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
    return paths


def towers(encoder: Encoder) -> Towers:
    """One that is loaded already."""
    return Towers(ENCODER, resolve, lambda name: encoder, identify)


def spent() -> float:
    """Processor seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def indexing(rounds: int) -> Iterator[Row]:
    """`topa index` beside a loop that decodes and encodes the same frames, and keeps nothing."""
    encoder = Encoder.from_pretrained(resolve(ENCODER))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = copies(film(folder / "film.mp4", SECONDS, WIDTH, HEIGHT), folder / "videos", VIDEOS)
        number = 0

        def alone() -> list[torch.Tensor]:
            rate, side = Rate(1, 600), 2 * encoder.side
            return [encoder.encode_images(sample_frames(path, rate, short_side=side).frames) for path in paths]

        def ours() -> Path:
            nonlocal number
            number += 1
            out = folder / f"library-{number}"
            index(IndexConfig(videos=(str(folder / "videos"),), out=out, workers=1), towers(encoder), show=False)
            return out

        made = ours()
        known, store = read_finished(made), FeatureStore.open(made / "features" / "part-00000")
        for path, values in zip(paths, alone(), strict=True):
            file = known.files[os.path.join("videos", path.name)]
            if file.id is None or not torch.equal(
                torch.nn.functional.normalize(values.half().float()), store[file.id].values
            ):
                sys.exit(f"{path.name}: features differ; nothing was measured")
        what = f"{VIDEOS} videos of {SECONDS} s, {WIDTH} x {HEIGHT}, one decoder, beside decoding and encoding alone"
        taken: dict[str, list[tuple[float, float]]] = {"alone": [], "ours": []}
        for turn in range(rounds + 1):
            for way, work in (("alone", alone), ("ours", ours)):
                began = time.perf_counter(), spent()
                work()
                if turn:  # the first one warms up
                    taken[way].append((time.perf_counter() - began[0], spent() - began[1]))
        for column, clock in enumerate(("wall time", "processor time")):
            theirs, own = ([one[column] for one in taken[way]] for way in ("alone", "ours"))
            ratio = statistics.median(a / b for a, b in zip(theirs, own, strict=True))
            yield Row("library, index", f"{what}, {clock}", statistics.median(theirs), statistics.median(own), "s",
                      round(1 / SLOWER, 3), ratio)  # fmt: skip


def again(rounds: int, count: int = FILES) -> Iterator[Row]:
    """The whole command, in a process of its own, over files that haven't changed."""
    encoder = Encoder.from_pretrained(resolve(ENCODER))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies(film(folder / "film.mp4", 1, 64, 64), folder / "videos", count)
        out = folder / "library"
        made = index(IndexConfig(videos=(str(folder / "videos"),), out=out, workers=2), towers(encoder), show=False)
        if made.videos != count:
            sys.exit(f"{made.videos} of {count} videos were indexed; nothing was measured")
        command = [sys.executable, "-m", "topa.cli", "index", str(folder / "videos"), "--out", str(out), "--json"]
        taken = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            taken.append(time.perf_counter() - began)
            if json.loads(done.stdout)["unchanged"] != count:
                sys.exit("files were looked into that haven't changed; nothing was measured")
        seconds = statistics.median(taken[1:])
        what = f"{count:,} files that haven't changed, the whole command (limit {AGAIN_S:g} s)"
        yield Row("library, index", what, AGAIN_S, seconds, "s", 1.0, AGAIN_S / seconds)


def asking(rounds: int) -> Iterator[Row]:
    """What questions to an indexed video cost; `asking.py` measures it, in a process of its own."""
    told = other("asking.py", rounds)
    one, hundred, runs = told["uniform"], told["hundred"], told["processes"]
    what = "a question about an indexed video, beside the language model's own time (limit 1.15 times)"
    yield row("library, ask", what, one["model_ms"] / 1000, one["indexed_ms"] / 1000, 1 / QUESTION)
    what = "100 questions about a video at once, beside decoding it for each"
    yield row("library, ask", what, hundred["decoding_s"], hundred["at_once_s"], 10.0)
    what = "100 questions in one process, beside 100 runs of topa ask (a few measured, multiplied), wall time"
    yield row("library, ask", what, runs["separate_s"], runs["indexed_s"], 10.0)


def searching(rounds: int) -> Iterator[Row]:
    """What a search over a million vectors costs; `search.py` measures it, in processes of its own."""
    told = other("search.py", rounds, "--no-compressed")
    for number in sorted({own["threads"] for own in told["rows"]}):
        (taken,) = [r["value"] for r in told["rows"] if r["threads"] == number and r["what"] == "one query, median"]
        yield row("library, search", f"a query to 1,000,000 frames, {number} threads (limit 1 s)", 1.0, taken, 1.0)


def row(name: str, what: str, baseline: float, ours: float, target: float) -> Row:
    """A comparison in seconds."""
    return Row(name, what, baseline, ours, "s", target, baseline / ours)


def other(script: str, rounds: int, *more: str) -> dict[str, Any]:
    """The figures of another script beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "figures.json"
        command = [sys.executable, str(Path(__file__).with_name(script)), "--rounds", str(rounds), *more]
        subprocess.run([*command, "--json", str(kept)], check=True)
        told: dict[str, Any] = json.loads(kept.read_text())
        return told


FIGURES: dict[str, Callable[[int], Iterator[Row]]] = {
    "indexing": indexing,
    "again": again,
    "asking": asking,
    "searching": searching,
}


def rows(rounds: int) -> Iterator[Row]:
    """All figures."""
    for figure in FIGURES.values():
        yield from figure(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=FIGURES, help="one figure; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of every way")
    parser.add_argument("--files", type=int, default=FILES, help="of a library that hasn't changed; fewer for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures, beside those of others")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = FIGURES | {"again": partial(again, count=given.files)}
    kept: dict[str, Any] = json.loads(given.json.read_text()) if given.json and given.json.is_file() else {"rows": []}
    for name in [given.only] if given.only else figures:
        found = [asdict(row) | {"figure": name, "rounds": given.rounds} for row in figures[name](given.rounds)]
        for row in found:
            print(f"{row['name']}: {row['what']}: {row['baseline']:,.3f} -> {row['ours']:,.3f} {row['unit']}, "
                  f"{row['ratio']:.3g} times (target {row['target']:g})", flush=True)  # fmt: skip
        kept["rows"] = [row for row in kept["rows"] if row["figure"] != name] + found
        if given.json:
            about = {"torch": torch.__version__, "machine": platform.machine()}
            save_figures(given.json, about | {"rows": kept["rows"]})


if __name__ == "__main__":
    main()
