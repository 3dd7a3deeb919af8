"""What it costs to ask a video that is in a library: `python perf/asking.py --json perf/asking.json`.

First the answers are compared: from the kept features, and of the file decoded each time, to half precision. Then
processor time, ways interleaved. `model`: the LLM alone, on frames that are projected already. `indexed`: a library,
which chooses frames, puts them into words and asks the same LLM; of that, `words` is what the encoder takes for the
question, where frames are chosen by it: here a model as large as the LLM. `decoding`: `Topa.ask` of the file. And wall
time of `topa ask FILE` as a process of its own. The micro LLM is the hardest case: the larger the LLM, the less all
else weighs.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from long import compose, render
from measure import interleaved, save_figures

from topa.features.encode_video import encode_video
from topa.features.relevance import query
from topa.features.store import FeatureStoreWriter
from topa.inference.answer import Answer
from topa.inference.engine import Topa
from topa.inference.frame_selection import FrameSelection
from topa.inference.request import Request
from topa.inference.scorer import score_options
from topa.library.contents import Contents, Video
from topa.library.requests import LibraryRequests
from topa.microworld.questions import OPTIONS
from topa.microworld.world import COLOURS, KINDS, PLACES
from topa.tideos.tideo import Question
from topa.training.pretrained import default_model, load


def questions(count: int) -> list[Question]:
    """Different questions with five options each."""
    rng = random.Random(0)
    wordings = [
        (f"what colour is the {kind} {when} ?", COLOURS) for kind in KINDS for when in ("at the start", "at the end")
    ]
    wordings += [(f"which place is the {kind} in {when} ?", PLACES) for kind in KINDS for when in ("first", "last")]
    wordings += [
        (f"which toy comes right {when} the {kind} ?", KINDS) for kind in KINDS for when in ("after", "before")
    ]
    asked = []
    while len(asked) < count:
        words, pool = wordings[len(asked) % len(wordings)]
        asked.append(Question(question=words, options=tuple(rng.sample(pool, OPTIONS))))
    return asked


@contextmanager
def nothing_decoded() -> Iterator[None]:
    """Opening a video is an error."""
    with mock.patch("av.open", side_effect=AssertionError("a video was opened")):
        yield


def indexed(engine: Topa, path: Path, folder: Path, frames: int) -> tuple[Contents, Video]:
    features = encode_video(path, engine.encoder, frames).features
    writer = FeatureStoreWriter(folder, engine.encoder.identity, engine.encoder.width, "image")
    writer.add(features, "video")
    video = Video("video", path.name, float(frames), frames)
    return Contents([writer.close()], [video], path.parent), video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], epilog="Example: asking.py --questions 10")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of every way")
    parser.add_argument("--processes", type=int, default=3, help="runs of topa ask that are timed")
    parser.add_argument("--model", type=Path, help="a saved micro model; by default the one that comes with topa")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = given.model or default_model()
    engine = load(folder)
    asked = questions(given.questions)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "long.mp4"
        rng = random.Random("asking")
        render(compose(rng)[0], path, rng)
        frames = engine.config.frames
        few, few_video = indexed(engine, path, Path(place) / "few", frames)
        contents, video = indexed(engine, path, Path(place) / "all", 60)
        agree(engine, path, LibraryRequests(engine, few), few_video, asked[:10])
        figures: dict[str, Any] = {"questions": len(asked), "options": OPTIONS, "frames": 60, "read": frames}
        for by in ("uniform", "question", "hierarchical"):
            figures[by] = beside_the_model(engine, contents, video, asked, by, given.rounds)
            print(f"{by}: {figures[by]['ratio']:.3f} times the LLM's own time", flush=True)
        figures["hundred"] = against_decoding(engine, path, contents, video, asked, given.rounds)
        print(
            f"{len(asked)} questions at once: {figures['hundred']['ratio']:.1f} times faster than decoding each time; "
            f"one by one: {figures['hundred']['ratio_one_by_one']:.1f}",
            flush=True,
        )
        figures["processes"] = against_processes(folder, path, contents, video, asked, given.processes)
        print(f"and {figures['processes']['ratio']:.0f} times faster than as many processes")
    if given.json:
        about = {"torch": torch.__version__, "machine": platform.machine(), "rounds": given.rounds}
        save_figures(given.json, about | figures)


def one(
    library: LibraryRequests, video: Video, question: Question, frame_selection: FrameSelection = "uniform"
) -> Answer:
    """One question about a video of a library."""
    request = library.about(video, question.question, question.options, frame_selection=frame_selection)
    return library.engine.answer([request])[0]


def together(library: LibraryRequests, video: Video, questions: list[Question]) -> list[Answer]:
    """Many questions about one video, whose frames are read once for all of them."""
    inputs = library.about(video, None).inputs
    return library.engine.answer([Request(inputs, q.question, q.options) for q in questions])


def agree(engine: Topa, path: Path, library: LibraryRequests, video: Video, asked: list[Question]) -> None:
    """Kept features give the answers that the file gives; without decoding."""
    for question in asked:
        slow = engine.ask(path, question.question, question.options)
        with nothing_decoded():
            fast = one(library, video, question)
        apart = max(abs(a - b) for a, b in zip(slow.probabilities, fast.probabilities, strict=True))
        if apart > 0.01:
            sys.exit(f"{question.question}: {slow.probabilities} of the file, {fast.probabilities} of the library")


def beside_the_model(
    engine: Topa, contents: Contents, video: Video, asked: list[Question], by: str, rounds: int
) -> dict[str, float]:
    """All questions one by one, beside what the LLM takes for the same frames. The frames are projected before."""
    library = LibraryRequests(engine, contents)
    with nothing_decoded():
        answers = [one(library, video, question, by) for question in asked]
    frames = library.video(video)
    first = contents.features(video).times.tolist()
    read = []
    for question, answer in zip(asked, answers, strict=True):
        if by == "hierarchical":
            rows = [[n for n, t in enumerate(first) if part.start <= t <= part.end] for part in answer.parts]
            rows = [row[:: max(1, len(row) // engine.config.frames)][: engine.config.frames] for row in rows]
        else:
            rows = [[first.index(time) for time in answer.times]]
        values = torch.stack([frames.values()[row] for row in rows])
        read.append(([question] * len(rows), values, torch.ones(values.shape[:2], dtype=torch.bool)))

    def model() -> None:
        for same, values, valid in read:
            score_options(engine.model, engine.prompter, same, values, valid, protocol=engine.config.protocol)

    def ours() -> None:
        for question in asked:
            one(library, video, question, by)

    def words() -> None:
        for question in asked:
            query(question.question, question.options, engine.encoder.encode_texts)

    timing = interleaved({"model": model, "words": words, "indexed": ours}, rounds)
    return {
        "model_ms": 1000 * timing.seconds["model"] / len(asked),
        "words_ms": 0.0 if by == "uniform" else 1000 * timing.seconds["words"] / len(asked),
        "indexed_ms": 1000 * timing.seconds["indexed"] / len(asked),
        "ratio": 1 / timing.ratios["model"],
    }


def against_decoding(
    engine: Topa, path: Path, contents: Contents, video: Video, asked: list[Question], rounds: int
) -> dict[str, float]:
    """All questions by `Topa.ask` of the file; by a library that is opened for them, one by one and at once."""

    def decoding() -> None:
        for question in asked:
            engine.ask(path, question.question, question.options)

    def one_by_one() -> None:
        library = LibraryRequests(engine, contents)
        for question in asked:
            one(library, video, question)

    def at_once() -> None:
        together(LibraryRequests(engine, contents), video, asked)

    with nothing_decoded():
        library = LibraryRequests(engine, contents)
        for question, scores in zip(asked, together(library, video, asked), strict=True):
            alone = one(library, video, question)
            if max(abs(a - b) for a, b in zip(scores.probabilities, alone.probabilities, strict=True)) > 1e-4:
                sys.exit(f"{question.question}: {scores.probabilities} at once, {alone.probabilities} alone")
    timing = interleaved({"decoding": decoding, "one_by_one": one_by_one, "at_once": at_once}, rounds)
    seconds = timing.seconds
    return {
        **{f"{name}_s": value for name, value in seconds.items()},
        "ratio_one_by_one": seconds["decoding"] / seconds["one_by_one"],
        "ratio": timing.ratios["decoding"],
    }


def against_processes(
    model: Path, path: Path, contents: Contents, video: Video, asked: list[Question], runs: int
) -> dict[str, float]:
    """`topa ask FILE` of a few questions, and one process that loads the model and asks them all; wall time."""
    command = [sys.executable, "-m", "topa.cli", "ask", str(path), asked[0].question, "--model", str(model)]
    command += [word for option in asked[0].options for word in ("--choice", option)]
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        taken.append(time.perf_counter() - began)
    began = time.perf_counter()
    library = LibraryRequests(load(model), contents)
    for question in asked:
        one(library, video, question)
    # Python and torch start once as well: as long as one whole run is more than enough.
    ours = time.perf_counter() - began + min(taken)
    each = sorted(taken)[len(taken) // 2]
    return {"one_run_s": each, "separate_s": each * len(asked), "indexed_s": ours, "ratio": each * len(asked) / ours}


if __name__ == "__main__":
    main()
