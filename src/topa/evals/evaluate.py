"""The verb `evaluate`: a saved model answers all records of a benchmark, and a report says how well.

Reads the files of a benchmark (`evals.datasets`) and its videos or released features, writes predictions, the
server's submission file where there is such a server, and the report. Running the same command again goes on where it
stopped, to the byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from ..core.artifacts import output_folder, sha256, write_atomically
from ..core.command import command
from ..core.embedded import resolve
from ..core.errors import AllFailed, InputError, UsageError
from ..core.failures import all_failed
from ..core.locks import exclusive
from ..core.processes import Processes
from ..core.protocols import Protocol
from ..features.feature_cache import FeatureCache
from ..features.frames import FrameFeatures
from ..features.run import FILES as STORE
from ..features.subtitles import WORDS, Cue, read_subtitles, subtitle_excerpt
from ..inference.engine import Topa
from ..inference.request import check_permutations
from ..microworld.writer import FILES as VIDEO_FILES
from ..models import saved
from ..models.base import empty_llm
from ..models.saved import SavedConfig
from ..training.pretrained import default_model, load
from .ablations import VIEWS, baselines
from .answering import RecordAnswerer
from .captioning import CAPTIONS
from .catalogue import Benchmark
from .example import Example
from .grading import more_scores
from .predictions import NAME, Prediction
from .provenance import expect_same, hashes_of, versions
from .publish import FILES as REPORT
from .publish import write_report
from .records import benchmark_of, data_folder, is_micro, make_micro, records, split_of, video_root
from .released import PublishedFeatures, is_released
from .report import MODEL, EvaluationReport, Summary
from .runner import Answered, answer_all, place, read_predictions
from .samples import samples
from .summary import averaged, reason, summarise
from .watching import ReleasedFeatures, Videos, Watching, clip_of

RUN = "run.json"
SUBMISSION = "submission.json"
FEATURES = "features"
FILES = (RUN, NAME, f"{NAME}.*", "baselines/*.jsonl*", SUBMISSION, CAPTIONS, *REPORT)
"""What an evaluation writes into its folder."""
_TOKENS = {"choice": 40, "open": 40, "caption": 80}
"""Of a generated answer at most, by task; a micro description has up to 75."""
_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be evaluated, and how.

    benchmark: a name of `BENCHMARKS`. out: where everything goes. data: the folder of its official files; the micro
    world renders its own. videos: the folder that the videos' paths start from, for questions that may lie elsewhere.
    split: the first one by default. model: a saved model, by default the micro model. protocol:
    the model's own by default. permutations: see `inference.request`. frames: of each video, at most as many as the
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
class EvaluationPlan:
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
        """Return it as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """What an evaluation left: the report, its page, the submission file where there is one, and what the run did.
    failure: where not one record could be answered, the error that says so."""

    report: EvaluationReport
    page: Path
    submission: Path | None
    answered: Answered
    failure: AllFailed | None = None


@dataclass(frozen=True, slots=True)
class _Setup:
    """What is known before a model is loaded. folder: of the saved model. settings, hashes: what decides the
    predictions."""

    benchmark: Benchmark
    split: str
    data: Path
    examples: list[Example]
    folder: Path
    settings: dict[str, str | int | float | bool | None]
    hashes: dict[str, str]


def evaluate(
    asked: Evaluation,
    *,
    show: bool = True,
    ablations: Sequence[str] | None = None,
    others: Mapping[str, Sequence[Path]] | None = None,
) -> EvaluationOutcome | None:
    """Answer every record into `asked.out`, and report. Resumes. None in all processes of several but the first one.

    ablations: the ways of showing the videos, beside the whole (see `evals.ablations`); by default those of
    `asked.baselines`. others: files of predictions of the same records by other models, by condition. Credits under
    the name of a condition of this evaluation are averaged with its own, as of one model trained from several seeds;
    any other name is a condition more.
    Raises InputError where the benchmark's files can't be read, or with `require_all` a video is missing; UsageError
    for settings that don't fit, or where the folder holds another evaluation; what loading the model raises.
    """
    processes = Processes()
    out = output_folder(asked.out, *FILES, *_elsewhere(asked))
    with exclusive(out) if processes.first else nullcontext():
        # What can be wrong without a model is told before one is made or loaded.
        setup = _set_up(asked, out, processes, show)
        engine = load(setup.folder, device=str(processes.device))
        if engine.memory is not None:
            engine.memory = engine.memory.to(processes.device)
        answerer = _answerer(asked, setup.benchmark, engine)
        watching = _watching(asked, setup.benchmark, engine, setup.data)
        if processes.first:
            write_atomically(out / RUN, json.dumps({**setup.settings, **setup.hashes}, indent=1) + "\n")
        processes.wait()
        if ablations is None:
            ablations = baselines(engine) if asked.baselines else ()
        views = (MODEL, *ablations)
        answered = answer_all(setup.examples, watching, answerer, views, out, processes, show=show)
        if not processes.first:
            return None
        predictions = {view: list(read_predictions(place(out, view))) for view in views}
        summary = _summary(asked, setup, predictions, others or {}, out)
        report = EvaluationReport(
            **{**dict(summary), "notes": (*summary.notes, *_notes(asked, setup, answerer, watching))},
            **_origin(asked, setup, answerer, out),
            parameters=_parameters(engine),
            samples=tuple(
                samples(
                    setup.examples, predictions[MODEL], engine, watching, out, seed=asked.seed, workers=asked.workers
                )
            ),
            seconds=round(answered.seconds, 2),
        )
        submission = _submission(asked, setup, predictions[MODEL], out)
        failure = _failure(setup.examples, predictions[MODEL], out)
        return EvaluationOutcome(report, write_report(report, out), submission, answered, failure)


def _elsewhere(asked: Evaluation) -> list[str]:
    """What is written below the folder of an evaluation: the micro world's data, and features."""
    data = [f"data/{name}" for name in VIDEO_FILES] if asked.data is None and is_micro(asked) else []
    return [*data, *([f"{FEATURES}/part-*/{name}" for name in STORE] if asked.features is None else [])]


def _set_up(asked: Evaluation, out: Path, processes: Processes, show: bool) -> _Setup:
    benchmark, data = benchmark_of(asked), data_folder(asked)
    if processes.first:
        make_micro(asked, show)
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
        _require(_missing(known, examples, video_root(asked, data)))
    settings, hashes = _settings(asked, benchmark, config), hashes_of(folder, config, examples)
    expect_same(out / RUN, {**settings, **hashes})
    return _Setup(benchmark, split_of(asked, benchmark), data, examples, folder, settings, hashes)


def _summary(
    asked: Evaluation,
    setup: _Setup,
    predictions: Mapping[str, Sequence[Prediction]],
    others: Mapping[str, Sequence[Path]],
    out: Path,
) -> Summary:
    runs: dict[str, list[Sequence[Prediction]]] = {view: [own] for view, own in predictions.items()}
    for name, files in others.items():
        runs.setdefault(name, []).extend(list(read_predictions(file)) for file in files)
    own, *repeats = runs.pop(MODEL)
    return summarise(
        setup.benchmark,
        setup.examples,
        own,
        {name: averaged(lists) for name, lists in runs.items()},
        repeats=repeats,
        split=setup.split,
        scores=more_scores(setup.benchmark, setup.examples, predictions, coco=asked.coco, seed=asked.seed, out=out),
        seed=asked.seed,
    )


def _origin(asked: Evaluation, setup: _Setup, answerer: RecordAnswerer, out: Path) -> dict[str, Any]:
    """The fields of a report that say where its numbers come from."""
    benchmark = setup.benchmark
    return {
        "title": f"{benchmark.title}: {'the micro model' if asked.model is None else setup.folder.name}",
        "benchmark": benchmark.name,
        "split": setup.split,
        "task": benchmark.task,
        "protocol": answerer.protocol if benchmark.task == "choice" else "greedy",
        "command": command() or f"topa evaluate {benchmark.name}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": setup.settings,
        "seeds": {"seed": asked.seed},
        "versions": versions(),
        "hashes": {**setup.hashes, "predictions": sha256(out / NAME)[:16]},
    }


def _parameters(engine: Topa) -> dict[str, int]:
    counts = engine.model.parameter_report()
    return {
        "trainable": counts.total_trainable,
        "frozen (language model)": counts.frozen,
        "tokens per frame": engine.config.tokens_per_frame,
    }


def _submission(asked: Evaluation, setup: _Setup, predictions: Sequence[Prediction], out: Path) -> Path | None:
    if setup.benchmark.submission is None or asked.limit is not None:
        return None
    body = setup.benchmark.submission(setup.examples, predictions)
    write_atomically(out / SUBMISSION, json.dumps(body, indent=1) + "\n")
    return out / SUBMISSION


def plan(asked: Evaluation) -> EvaluationPlan:
    """Return what `evaluate` would do, without doing it; the micro world's videos are rendered, where there are none.

    Raises what reading the records and the saved model's configuration raises.
    """
    benchmark = benchmark_of(asked)
    make_micro(asked, show=False)
    data = data_folder(asked)
    examples = records(asked, benchmark, data)
    folder = saved.fetch(asked.model or default_model())
    config = saved.read_config(folder)
    model = saved.shape(empty_llm(config.llm, resolve(config.llm, weights=False)), config)
    parameters = sum(p.numel() for p in chain(model.llm.parameters(), model.parameters()))
    root, known = video_root(asked, data), _known(asked, config)
    clips = {clip.id for clip in (clip_of(example, root) for example in examples)}
    missing = _missing(known, examples, root)
    to_encode = 0 if isinstance(known, PublishedFeatures) else sum(name not in known for name in clips) - len(missing)
    views = len(VIEWS) if asked.baselines else 1
    return EvaluationPlan(
        len(examples),
        sum(example.hidden for example in examples),
        len(clips),
        tuple(missing),
        to_encode,
        views * len(examples),
        parameters,
        4 * parameters,
    )


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
        released = PublishedFeatures(asked.features, engine.encoder.identity, engine.encoder.width)
        return ReleasedFeatures(released, benchmark.rows, frames)
    return Videos(
        engine.encoder, video_root(asked, data), asked.features or asked.out / FEATURES, frames, asked.workers
    )


def _frame_count(asked: Evaluation, config: SavedConfig) -> int:
    """How many of each video. Raises UsageError for more than the model reads."""
    frames = config.frames if asked.frames is None else asked.frames
    if not 1 <= frames <= config.frames:
        raise UsageError(
            f"--frames: found {frames}; expected 1 to {config.frames}: the model was aligned with so many."
        )
    return frames


def _known(asked: Evaluation, config: SavedConfig) -> FeatureCache | PublishedFeatures:
    """Features that are there. Raises ArtifactMismatch for those of another encoder or number of frames."""
    frames = _frame_count(asked, config)
    if asked.features is not None and is_released(asked.features):
        return PublishedFeatures(asked.features, config.encoder_identity, config.feature_width)
    return FeatureCache(asked.features or asked.out / FEATURES, config.encoder_identity, frames)


def _missing(known: FeatureCache | PublishedFeatures, examples: Sequence[Example], root: Path) -> list[str]:
    """What can't be had for want of a video, or of its released features: each once."""
    if isinstance(known, PublishedFeatures):
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
        "split": split_of(asked, benchmark),
        "protocol": (asked.protocol or config.protocol) if benchmark.task == "choice" else "greedy",
        "permutations": asked.permutations,
        "frames": _frame_count(asked, config),
        "features": "released" if asked.features is not None and is_released(asked.features) else "videos",
        "max_tokens": asked.max_tokens or _TOKENS[benchmark.task],
        "subtitles": asked.subtitles,
        "limit": asked.limit,
        "seed": asked.seed,
    }


def _notes(asked: Evaluation, setup: _Setup, answerer: RecordAnswerer, watching: Watching) -> Iterator[str]:
    if setup.benchmark.task != "choice":
        yield f"Answers are generated greedily, and end by themselves or at {answerer.max_tokens} tokens."
    elif answerer.permutations:
        yield "Options were listed in every cyclic order, and each one's probability is the mean."
    if asked.limit is not None:
        yield f"Of a part of the records only, {asked.limit:,} drawn by seed {asked.seed}: not the benchmark's number."
    if asked.subtitles:
        yield f"What is said at the frames' times stands before the question, at most {WORDS} words of it."
        without = sum(example.subtitles is None or not example.subtitles.is_file() for example in setup.examples)
        if without:
            every = len(setup.examples)
            yield f"{without:,} of {every:,} records were asked without subtitles: their videos have none here."
    if isinstance(watching, Videos) and watching.truncated:
        yield f"{len(watching.truncated)} files are damaged; of these the part that could be read was used."
