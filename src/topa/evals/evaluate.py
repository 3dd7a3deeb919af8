"""The verb `evaluate`: a saved model answers all records of a benchmark, and a report says how well.

Reads the files of a benchmark (`evals.datasets`) and its videos or released features, writes predictions, the
server's submission file where there is such a server, and the report. Running the same command again goes on where it
stopped, to the byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers

from ..core.artifacts import output_folder, own_version, sha256, write_atomically
from ..core.command import command
from ..core.config_diff import config_diff
from ..core.embedded import resolve
from ..core.errors import AllFailed, ArtifactError, InputError, UsageError
from ..core.failures import all_failed
from ..core.locks import exclusive
from ..core.processes import Processes
from ..core.progress import console
from ..core.protocols import Protocol
from ..core.registry import unknown
from ..core.thumbnails import SIDE, thumbnail
from ..features.decoding import decoders
from ..features.feature_cache import FeatureCache
from ..features.frames import FrameFeatures
from ..features.run import FILES as STORE
from ..features.subtitles import WORDS, Cue, read_subtitles, subtitle_excerpt
from ..inference.engine import Topa
from ..inference.request import check_permutations
from ..memory.bank import MemoryBank
from ..microworld.writer import FILES as VIDEO_FILES
from ..microworld.writer import make_videos
from ..models import saved
from ..models.base import empty_llm
from ..models.saved import SavedConfig
from ..training.pretrained import default_model, load
from .ablations import VIEWS, baselines
from .answering import RecordAnswerer
from .captioning import CAPTIONS
from .catalogue import BENCHMARKS, Benchmark
from .datasets import own
from .evaluation import MODEL, EvaluationReport, Shown
from .example import Example
from .grading import more_scores
from .predictions import NAME, Prediction
from .publish import FILES as REPORT
from .publish import write_evaluation
from .released import Released, is_released
from .report import FrameView
from .runner import Answered, answer_all, place, read_predictions
from .summary import examples_to_show, reason, shown, summarise
from .watching import ReleasedFeatures, Videos, Watching, clip_of

RUN = "run.json"
SUBMISSION = "submission.json"
FEATURES = "features"
FILES = (RUN, NAME, f"{NAME}.*", "baselines/*.jsonl*", SUBMISSION, CAPTIONS, *REPORT)
"""What an evaluation writes into its folder."""
MICRO_VIDEOS = 220
_MICRO_SEED = 2_000_003
_TOKENS = {"choice": 40, "open": 40, "caption": 80}
"""Of a generated answer at most, by task; a micro description has up to 75."""
_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be evaluated, and how.

    benchmark: a name of `BENCHMARKS`. out: where everything goes. data: the folder of its official files; the micro
    world renders its own. videos: the folder that the videos' paths start from, for questions that may lie elsewhere.
    split: the first one by default. model: a saved model, by default the micro model. protocol:
    the model's own by default. permutations: see `inference.protocols`. frames: of each video, at most as many as the
    model reads, by default so many. max_tokens: of a generated answer. baselines: also what a score must beat.
    subtitles: given to the model before the question: what is said at the frames' times. features: a folder of
    features that are there, or go there, or a benchmark's released ones. limit: so many records, drawn by `seed`.
    require_all: a missing video is an error. workers: processes that decode. coco: METEOR and SPICE too, in Java.
    """

    benchmark: str
    out: Path
    data: Path | None = None
    videos: Path | None = None
    split: str | None = None
    model: str | Path | None = None
    protocol: Protocol | None = None
    permutations: bool = False
    frames: int | None = None
    max_tokens: int | None = None
    baselines: bool = False
    subtitles: bool = False
    features: Path | None = None
    limit: int | None = None
    require_all: bool = False
    workers: int = field(default_factory=lambda: min(os.cpu_count() or 1, _WORKERS))
    coco: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What an evaluation would do. hidden: records whose answer isn't public. missing: videos that aren't there.
    to_encode: clips without features. answers: records times ways of being shown. parameters, bytes: of
    the language model with its adapter."""

    records: int
    hidden: int
    clips: int
    missing: tuple[str, ...]
    to_encode: int
    answers: int
    parameters: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation left: the report, its page, the submission file where there is one, and what the run did.
    failure: where not one record could be answered, the error that says so."""

    report: EvaluationReport
    page: Path
    submission: Path | None
    answered: Answered
    failure: AllFailed | None = None


def evaluate(asked: Evaluation, *, show: bool = True) -> Evaluated | None:
    """Answer every record into `asked.out`, and report. Resumes. None in all processes of several but the first one.

    Raises InputError where the benchmark's files can't be read, or with `require_all` a video is missing; UsageError
    for settings that don't fit, or where the folder holds another evaluation; what loading the model raises.
    """
    processes = Processes()
    out = output_folder(asked.out, *FILES, *_elsewhere(asked))
    with exclusive(out) if processes.first else nullcontext():
        # What can be wrong without a model is told before one is made or loaded.
        benchmark, data = benchmark_of(asked), _data(asked)
        if processes.first:
            _make_micro(asked, show)
        processes.wait()
        examples = records(asked, benchmark, data)
        if processes.first:
            default = asked.model or default_model(show=show)
        processes.wait()
        folder = saved.fetch(default if processes.first else asked.model or default_model(show=False))
        config = saved.read_config(folder)
        if asked.permutations:
            check_permutations(asked.protocol or config.protocol)
        known = _known(asked, config)
        if asked.require_all:
            _require(_missing(known, examples, _root(asked, data)))
        settings, hashes = _settings(asked, benchmark, config), _hashes(folder, config, examples)
        _expect(out, {**settings, **hashes})
        engine = load(folder, device=str(processes.device))
        if engine.memory is not None:
            engine.memory = engine.memory.to(processes.device)
        answerer = _answerer(asked, benchmark, engine)
        watching = _watching(asked, benchmark, engine, data)
        if processes.first:
            write_atomically(out / RUN, json.dumps({**settings, **hashes}, indent=1) + "\n")
        processes.wait()
        views = (MODEL, *baselines(engine)) if asked.baselines else (MODEL,)
        answered = answer_all(examples, watching, answerer, views, out, processes, show=show)
        if not processes.first:
            return None
        found = {view: list(read_predictions(place(out, view))) for view in views}
        submission = None
        if benchmark.submission is not None and asked.limit is None:
            submission = out / SUBMISSION
            write_atomically(submission, json.dumps(benchmark.submission(examples, found[MODEL]), indent=1) + "\n")
        summary = summarise(
            benchmark,
            examples,
            found[MODEL],
            {view: found[view] for view in views if view != MODEL},
            split=asked.split or next(iter(benchmark.splits)),
            scores=more_scores(benchmark, examples, found, coco=asked.coco, seed=asked.seed, out=out),
            seed=asked.seed,
        )
        notes = (*summary.notes, *_notes(asked, benchmark, answerer, watching, examples))
        report = EvaluationReport(
            **{**dict(summary), "notes": notes},
            title=f"{benchmark.title}: {'the micro model' if asked.model is None else folder.name}",
            benchmark=benchmark.name,
            split=asked.split or next(iter(benchmark.splits)),
            task=benchmark.task,
            protocol=answerer.protocol if benchmark.task == "choice" else "greedy",
            command=command() or f"topa evaluate {benchmark.name}",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            samples=tuple(_samples(asked, examples, found[MODEL], engine, watching, data)),
            settings=settings,
            seeds={"seed": asked.seed},
            versions={
                "topa": own_version(),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            hashes={**hashes, "predictions": sha256(out / NAME)[:16]},
            seconds=round(answered.seconds, 2),
        )
        page = write_evaluation(report, out)
        return Evaluated(report, page, submission, answered, _failure(examples, found[MODEL], out))


def _elsewhere(asked: Evaluation) -> list[str]:
    """What is written below the folder of an evaluation: the micro world's data, and features."""
    data = [f"data/{name}" for name in VIDEO_FILES] if asked.data is None and _is_micro(asked) else []
    return [*data, *([f"{FEATURES}/part-*/{name}" for name in STORE] if asked.features is None else [])]


def plan(asked: Evaluation) -> Plan:
    """What `evaluate` would do, without doing it; the micro world's videos are rendered, where there are none.

    Raises what reading the records and the saved model's configuration raises.
    """
    benchmark = benchmark_of(asked)
    _make_micro(asked, show=False)
    data = _data(asked)
    examples = records(asked, benchmark, data)
    folder = saved.fetch(asked.model or default_model())
    config = saved.read_config(folder)
    model = saved.shape(empty_llm(config.llm, resolve(config.llm, weights=False)), config)
    parameters = sum(p.numel() for p in chain(model.llm.parameters(), model.parameters()))
    root, known = _root(asked, data), _known(asked, config)
    clips = {clip.id for clip in (clip_of(example, root) for example in examples)}
    missing = _missing(known, examples, root)
    to_encode = 0 if isinstance(known, Released) else sum(name not in known for name in clips) - len(missing)
    views = len(VIEWS) if asked.baselines else 1
    return Plan(
        len(examples),
        sum(example.hidden for example in examples),
        len(clips),
        tuple(missing),
        to_encode,
        views * len(examples),
        parameters,
        4 * parameters,
    )


def benchmark_of(asked: Evaluation) -> Benchmark:
    """The benchmark by its name. Raises UsageError for an unknown one, or for what it doesn't have."""
    benchmark: Benchmark = BENCHMARKS.load(asked.benchmark)
    if asked.split is not None and asked.split not in benchmark.splits:
        raise unknown(f"split of {benchmark.name}", asked.split, benchmark.splits)
    if asked.subtitles and not benchmark.subtitles:
        raise UsageError(f"--subtitles: {benchmark.name} comes without subtitles. Leave it out.")
    if asked.videos is not None and not benchmark.elsewhere:
        raise UsageError(
            f"--videos: those of {benchmark.name} are looked for in --data, under the names that they are published "
            "with. Leave it out, or link the folder into --data."
        )
    if asked.permutations and benchmark.task != "choice":
        raise UsageError(f"--permutations: {benchmark.name} has no options. Leave it out.")
    return benchmark


def records(asked: Evaluation, benchmark: Benchmark, data: Path) -> list[Example]:
    """All records, or with `limit` so many of them, drawn by the seed and in the published order.

    Raises InputError where there are none, or two have one id.
    """
    examples = list(benchmark.read(data, asked.split or next(iter(benchmark.splits))))
    if asked.videos is not None:
        examples = [replace(example, path=asked.videos / example.video) for example in examples]
    if not examples:
        raise InputError(f"{data}: found no records of {benchmark.name}; expected at least one. Download it again.")
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise InputError(f"{data}: found the id {example.id!r} twice; expected ids that differ. Mend the file.")
        seen.add(example.id)
    if asked.limit is None or asked.limit >= len(examples):
        return examples
    if asked.limit < 1:
        raise UsageError(f"--limit: found {asked.limit}; expected 1 or more.")
    chosen = random.Random(f"limit {asked.seed}").sample(range(len(examples)), asked.limit)
    return [examples[number] for number in sorted(chosen)]


def _is_micro(asked: Evaluation) -> bool:
    return asked.benchmark.startswith("microworld")


def _make_micro(asked: Evaluation, show: bool) -> None:
    """The micro world's videos, where there are none. The list of questions is written behind them."""
    if _is_micro(asked) and not (_data(asked) / own.NAME).is_file():
        console.print(f"rendering {MICRO_VIDEOS} videos of the micro world into {_data(asked)}")
        make_videos(_data(asked), MICRO_VIDEOS, asked.seed + _MICRO_SEED, show=show)


def _data(asked: Evaluation) -> Path:
    if asked.videos is not None and not asked.videos.is_dir():
        there = "a file" if asked.videos.exists() else "nothing there"
        raise InputError(f"{asked.videos}: found {there}; expected the folder of the videos: --videos DIR")
    if asked.data is not None:
        if not asked.data.exists():
            if _is_micro(asked):
                return asked.data
            raise InputError(f"{asked.data}: found nothing there; expected the files of {asked.benchmark}: --data DIR")
        return asked.data
    if _is_micro(asked):
        return asked.out / "data"
    raise UsageError(
        f"evaluate {asked.benchmark}: found no folder of data; expected the published files, which topa doesn't "
        "download. Name their folder: --data DIR"
    )


def _root(asked: Evaluation, data: Path) -> Path:
    """The folder that clips are named from."""
    if asked.videos is not None:
        return asked.videos
    return data if data.is_dir() else data.parent


def _answerer(asked: Evaluation, benchmark: Benchmark, engine: Topa) -> RecordAnswerer:
    return RecordAnswerer(
        engine,
        benchmark.task,
        asked.protocol or engine.config.protocol,
        asked.permutations,
        asked.max_tokens or _TOKENS[benchmark.task],
        _speech(asked),
    )


def _watching(asked: Evaluation, benchmark: Benchmark, engine: Topa, data: Path) -> Watching:
    frames = _frame_count(asked, engine.config)
    if asked.features is not None and is_released(asked.features):
        released = Released(asked.features, engine.encoder.identity, engine.encoder.width)
        return ReleasedFeatures(released, benchmark.rows, frames)
    return Videos(engine.encoder, _root(asked, data), asked.features or asked.out / FEATURES, frames, asked.workers)


def _frame_count(asked: Evaluation, config: SavedConfig) -> int:
    """How many of each video. Raises UsageError for more than the model reads."""
    frames = config.frames if asked.frames is None else asked.frames
    if not 1 <= frames <= config.frames:
        raise UsageError(
            f"--frames: found {frames}; expected 1 to {config.frames}: the model was aligned with so many."
        )
    return frames


def _known(asked: Evaluation, config: SavedConfig) -> FeatureCache | Released:
    """Features that are there. Raises ArtifactMismatch for those of another encoder or number of frames."""
    frames = _frame_count(asked, config)
    if asked.features is not None and is_released(asked.features):
        return Released(asked.features, config.encoder_identity, config.feature_width)
    return FeatureCache(asked.features or asked.out / FEATURES, config.encoder_identity, frames)


def _missing(known: FeatureCache | Released, examples: Sequence[Example], root: Path) -> list[str]:
    """What can't be had for want of a video, or of its released features: each once."""
    if isinstance(known, Released):
        return list(dict.fromkeys(e.video for e in examples if e.video not in known))
    clips = {clip.id: clip for clip in (clip_of(example, root) for example in examples)}
    return [name for name, clip in clips.items() if name not in known and not Path(clip.path).exists()]


def _failure(examples: Sequence[Example], predictions: Sequence[Prediction], out: Path) -> AllFailed | None:
    failures = [
        (p.video or p.id, reason(e, p.error)) for e, p in zip(examples, predictions, strict=True) if p.error is not None
    ]
    if len(failures) < len(predictions):
        return None
    return all_failed("evaluate", "records", failures, f"{out / NAME} has them all.")


def _require(missing: Sequence[str]) -> None:
    if missing:
        shown_ones = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{len(missing)} videos are missing: {shown_ones}; expected all of them. Put them there, or leave out "
            "--require-all to have them counted wrong and listed."
        )


def _speech(asked: Evaluation) -> Callable[[Example, FrameFeatures], str]:
    """What is said in a video at the times of its frames, where that is asked for."""
    if not asked.subtitles:
        return lambda example, features: ""

    @lru_cache(maxsize=256)
    def cues(path: Path) -> tuple[Cue, ...]:
        return read_subtitles(path)

    def heard(example: Example, features: FrameFeatures) -> str:
        if example.subtitles is None or not example.subtitles.is_file():
            return ""
        times = None if features.times is None else features.times.tolist()
        return subtitle_excerpt(cues(example.subtitles), times, start=example.start, end=example.end)

    return heard


def _settings(
    asked: Evaluation, benchmark: Benchmark, config: SavedConfig
) -> dict[str, str | int | float | bool | None]:
    """What decides the predictions, beside the files."""
    return {
        "benchmark": benchmark.name,
        "split": asked.split or next(iter(benchmark.splits)),
        "protocol": (asked.protocol or config.protocol) if benchmark.task == "choice" else "greedy",
        "permutations": asked.permutations,
        "frames": _frame_count(asked, config),
        "features": "released" if asked.features is not None and is_released(asked.features) else "videos",
        "max_tokens": asked.max_tokens or _TOKENS[benchmark.task],
        "subtitles": asked.subtitles,
        "limit": asked.limit,
        "seed": asked.seed,
    }


def _hashes(folder: Path, config: SavedConfig, examples: Sequence[Example]) -> dict[str, str]:
    digest = hashlib.sha256()
    for e in examples:
        digest.update(repr((e.id, e.question, e.options, e.answer, e.references, e.start, e.end, e.fault)).encode())
    hashes = {
        "records": digest.hexdigest()[:16],
        "adapter": sha256(folder / saved.ADAPTER)[:16],
        "encoder": config.encoder_identity,
        "language model": config.llm,
    }
    return hashes if config.bridge == "raw" else {**hashes, "memory": MemoryBank.load(folder).hash[:16]}


def _expect(out: Path, told: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another evaluation."""
    path = out / RUN
    if path.is_file():
        try:
            before = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path}: can't be read ({error}). Name another folder with --out.") from error
        if other := config_diff(told, before):
            raise UsageError(
                f"{out}: holds another evaluation: {other}. Give the same options as before, or another folder with "
                "--out."
            )


def _notes(
    asked: Evaluation, benchmark: Benchmark, answerer: RecordAnswerer, watching: Watching, examples: Sequence[Example]
) -> Iterator[str]:
    if benchmark.task != "choice":
        yield f"Answers are generated greedily, and end by themselves or at {answerer.max_tokens} tokens."
    elif answerer.permutations:
        yield "Options were listed in every cyclic order, and each one's probability is the mean."
    if asked.limit is not None:
        yield f"Of a part of the records only, {asked.limit:,} drawn by seed {asked.seed}: not the benchmark's number."
    if asked.subtitles:
        yield f"What is said at the frames' times stands before the question, at most {WORDS} words of it."
        without = sum(example.subtitles is None or not example.subtitles.is_file() for example in examples)
        if without:
            yield f"{without:,} of {len(examples):,} records were asked without subtitles: their videos have none here."
    if isinstance(watching, Videos) and watching.truncated:
        yield f"{len(watching.truncated)} files are damaged; of these the part that could be read was used."


def _samples(
    asked: Evaluation,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    engine: Topa,
    watching: Watching,
    data: Path,
) -> Iterator[Shown]:
    """Records for the page, with the frames that were read and what they were read as."""
    wanted = set(examples_to_show(examples, predictions, seed=asked.seed))
    chosen = [(e, p) for e, p in zip(examples, predictions, strict=True) if e.id in wanted]
    whole = [e for e, p in chosen if p.error is None]
    watched = next(watching.watch([whole])) if whole else {}
    pictures: dict[str, list[str]] = {}
    if isinstance(watching, Videos):
        clips = {clip.id: clip for clip in (clip_of(e, watching.data) for e in whole)}
        with decoders(asked.workers) as pool:
            for clip, decoding in pool.ahead(clips.values(), watching.frames, SIDE):
                try:
                    pictures[clip.id] = [thumbnail(picture) for picture in decoding.result().frames]
                except InputError:  # the file has gone since; the features are still there
                    continue
    for example, prediction in chosen:
        name = watching.clip(example)
        features = watched.get(name)
        frames = _frames(engine, features, pictures.get(name)) if isinstance(features, FrameFeatures) else []
        yield shown(example, prediction, frames)


def _frames(engine: Topa, features: FrameFeatures, pictures: list[str] | None) -> list[FrameView]:
    times: Sequence[float | None] = [None] * len(features) if features.times is None else features.times.tolist()
    evidence = engine.read(features)
    read_as = [(e.captions, e.weights) for e in evidence] or [((), ())] * len(features)
    images: Sequence[str | None] = pictures or [None] * len(features)
    return [
        FrameView(time=time, image=image, captions=captions, weights=weights)
        for time, image, (captions, weights), there in zip(times, images, read_as, features.valid.tolist(), strict=True)
        if there
    ]
