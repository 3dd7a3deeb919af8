"""The main job on the micro world, told once: from writing Tideos to a report on real, held-out mp4 files.

Reads nothing; writes a folder with every artifact of the method and `report.html`.
"""

from __future__ import annotations

import json
import platform
import random
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from .core.artifacts import (
    expect_all_ours,
    output_folder,
    own_version,
    remove,
    remove_folder,
    write_atomically,
)
from .core.calibration import Forecast, seconds_per_pass
from .core.embedded import resolve
from .core.formatting import rough_duration
from .core.progress import bar, console, track
from .core.protocols import LikelihoodProtocol as Protocol
from .core.resources import measure
from .core.thumbnails import thumbnail
from .evals.metrics import accuracy, difference
from .evals.publish import FILES as REPORT
from .evals.publish import write_report
from .evals.report import Condition, DemoReport, Difference, FrameView, Sample, Stage
from .features.encode_video import EncodedVideo, encode_video
from .features.encoder import Encoder
from .features.frames import FrameFeatures
from .features.run import FILES as STORE
from .inference.scorer import OptionScores as Scores
from .inference.scorer import score_options
from .memory.bank import READINGS, MemoryBank
from .microworld import effort
from .microworld.questions import TIME_KINDS
from .microworld.writer import FILES as VIDEO_FILES
from .microworld.writer import MicroVideo, make_videos, write_tideos
from .models import saved
from .models.topa_model import VideoLanguageModel, trainable_count
from .prompts.prompt import Prompter
from .tideos.index import SUFFIX
from .tideos.jsonl import write_jsonl
from .tideos.tideo import Question
from .training.align import (
    FEATURES,
    TIDEOS,
    Corpus,
    card,
    load_prompter,
    make_memory,
    new_model,
    open_corpus,
    run_files,
)
from .training.config import AlignConfig, read_recipe
from .training.data import AlignmentSet, Labels, add_noise
from .training.loop import Watch, train
from .training.pretrained import DEFAULT_RECIPE

ABOUT = {
    "chance": "picks an option at random",
    "blind": "the aligned model, every frame's feature zeroed",
    "blind_trained": "aligned and asked with every feature zeroed",
    "raw": "image features as they are",
    "centred": "image features moved to the mean of text features",
    "noise_trained": "aligned with noise on the text features; image features as they are",
    "projected": "image features projected into text space by the memory: the method",
    "shuffled_frames": "projected, the frames in random order",
    "text": "the captions of the same stories, read as textual videos",
    "video_trained": "trained on the image features of as many labelled videos: the ceiling",
}
TRAINED = ("blind_trained", "noise_trained", "video_trained")
VIEWS = tuple(name for name in ABOUT if name not in {"chance", *TRAINED})
"""Conditions that ask the same model."""
NOISE = 0.5
"""Deviation of the noise of `noise_trained`, over the whole unit vector."""
SETTINGS = "demo.json"
_FILES = (
    SETTINGS,
    TIDEOS,
    f"{TIDEOS}{SUFFIX}",
    *REPORT,
    *(f"{folder}{name}" for folder in ("", "training-videos/") for name in VIDEO_FILES),
    *(f"{FEATURES}/{name}" for name in STORE),
    *(f"model-*/{name}" for name in run_files(None)),
)
_SAMPLES, _MISTAKES = 8, 4
_EVAL_SEED = 2_000_003


@dataclass(frozen=True, slots=True)
class Scale:
    """How much the demo does. settings: changes of the recipe. seeds: alignments, one after the other."""

    videos: int = 220
    settings: tuple[str, ...] = ()
    seeds: int = 1
    trained_baselines: bool = False

    @classmethod
    def quick(cls) -> Scale:
        """A smoke run."""
        return cls(videos=12, settings=("microworld_tideos=200", "epochs=1", "validation=20"))

    @classmethod
    def full(cls) -> Scale:
        """Three seeds, and the baselines that train again."""
        return cls(seeds=3, trained_baselines=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """All questions on all held-out videos. owner: which video each question is about."""

    videos: list[MicroVideo]
    questions: list[Question]
    owner: list[int]

    @property
    def groups(self) -> list[str]:
        """The video of each question: the unit of the bootstrap."""
        return [self.videos[i].id for i in self.owner]

    @property
    def kinds(self) -> list[str]:
        """The kind of each question."""
        return [q.kind for q in self.questions]

    def right(self, scores: Sequence[Scores]) -> list[float]:
        """1 for each question answered correctly, 0 for each other."""
        return [float(s.choice == q.answer) for s, q in zip(scores, self.questions, strict=True)]


@dataclass(slots=True)
class Log:
    """The stages so far, said aloud as they end, with the time that is left."""

    forecast: Forecast
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, work: float = 0.0) -> Iterator[None]:
        """Measure a stage. work: its share of the forecast's."""
        with measure() as spent:
            yield
        self.stages.append(Stage(name=name, seconds=round(spent.seconds, 2), peak_mb=round(spent.peak_mb, 1)))
        self.forecast.advance(work, spent.seconds)
        left = (
            f"  {rough_duration(self.forecast.remaining_seconds)} left" if self.forecast.remaining_seconds >= 1 else ""
        )
        console.print(f"{name:<46} {spent.seconds:6.1f} s  {spent.peak_mb:7.0f} MB{left}", soft_wrap=True)


def run(out: Path, *, seed: int = 0, scale: Scale | None = None, show: bool = True) -> tuple[DemoReport, Path]:
    """The demo into `out`. Returns the report and the path of `report.html`.

    The same command again resumes; other settings begin anew. Raises OutputError where `out` can't be written.
    """
    scale = scale or Scale()
    config = _config(seed, scale)
    _clear(output_folder(out, *_FILES), _settings(config, scale))
    tideos, epochs = config.microworld_tideos, config.epochs
    console.print(f"topa demo: {tideos} Tideos, {scale.videos} videos, into {out}", soft_wrap=True)
    log = Log(Forecast(_work(config, scale), seconds_per_pass()))
    expected = rough_duration(log.forecast.remaining_seconds)
    console.print(f"expect {expected} on this machine as busy as it is, and 1.3 GB of memory")

    with log.stage("write Tideos (text only)", effort.START + tideos * effort.WRITE):
        write_jsonl(write_tideos(config.microworld_tideos, config.seed), out / TIDEOS)
    with log.stage("encode them with CLIP's text tower", tideos * effort.ENCODE):
        encoder = Encoder.from_pretrained(resolve(config.encoder))
        corpus = open_corpus(out / TIDEOS, config, out / FEATURES, show=show)
    with log.stage("build the memory"):
        memory = make_memory(corpus, config.memory_rows, config.seed)
    training = corpus.alignment_set(config.frames)
    models: list[VideoLanguageModel] = []
    for number in range(scale.seeds):
        with log.stage(f"align the frozen LLM, seed {seed + number}", tideos * epochs * effort.TRAIN):
            own = config.model_copy(update={"seed": seed + number})
            models.append(_align(own, encoder, training, corpus.pairs(), out / f"model-{seed + number}", memory, show))
    with log.stage("render held-out videos (mp4)", scale.videos * effort.RENDER):
        asked = _ask(make_videos(out, scale.videos, seed + _EVAL_SEED, show=show))
    with log.stage("decode and encode them with CLIP's image tower", scale.videos * effort.WATCH):
        seen = [
            encode_video(v.path, encoder, config.frames)
            for v in track(asked.videos, "watching", scale.videos, show=show)
        ]
        images = [s.features for s in seen]
    prompter = load_prompter(config, models[0].llm)
    with log.stage("answer the questions", len(VIEWS) * scale.seeds * scale.videos * effort.ANSWER):
        views = _views(asked, images, memory, encoder, config)
        scores = {
            name: [_score(m, prompter, asked, v, config.protocol, name, show) for m in models]
            for name, v in views.items()
        }
    if scale.trained_baselines:
        for name, trained in _trained_baselines(config, scale, encoder, corpus, memory, out, log, show):
            with log.stage(f"answer the questions, {name}", scale.seeds * scale.videos * effort.ANSWER):
                features = views["blind" if name == "blind_trained" else "raw"]
                scores[name] = [_score(m, prompter, asked, features, config.protocol, name, show) for m in trained]

    first = scores["projected"][0]
    mistakes = [i for i, hit in enumerate(asked.right(first)) if not hit]
    sample = partial(_sample, asked=asked, seen=seen, memory=memory, scores=first, temperature=config.temperature)
    hits = {name: _mean([asked.right(s) for s in by_seed]) for name, by_seed in scores.items()}
    hits["chance"] = [1 / len(q.options) for q in asked.questions]
    report = DemoReport(
        title="topa demo: the micro world",
        command=_command(out, seed, scale),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        conditions=tuple(_condition(name, hits[name], asked, seed) for name in ABOUT if name in hits),
        differences=tuple(_differences(hits, asked, seed)),
        stages=tuple(log.stages),
        seeds={"data": seed, "alignments": scale.seeds, "videos": seed + _EVAL_SEED},
        versions={
            "topa": own_version(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        parameters=_parameters(models[0], prompter),
        samples=tuple(sample(i) for i in _first_of_each_kind(asked)),
        mistakes=tuple(sample(i) for i in mistakes[:_MISTAKES]),
        mistake_count=len(mistakes),
        notes=(
            "Every video is held out; not one video, and not one image feature, was used in alignment.",
            f"Options are compared by their text ({config.protocol}). Intervals: 95 %, bootstrap over videos.",
            "The micro LLM knows the micro world's words only, the micro CLIP its pictures: nothing here transfers.",
        ),
    )
    return report, write_report(report, out)


def finished(out: Path, *, seed: int = 0, scale: Scale | None = None) -> bool:
    """Whether a demo with these settings has run to its end in `out`: then model, videos and report are there."""
    now = _settings(_config(seed, scale or Scale()), scale or Scale())
    made = [out / SETTINGS, out / "report.html", out / f"model-{seed}" / saved.CONFIG]
    return all(path.is_file() for path in made) and made[0].read_text(encoding="utf-8") == now


def _work(config: AlignConfig, scale: Scale) -> float:
    """What all stages cost together, in passes of the calibration."""
    tideos, again = config.microworld_tideos, len(TRAINED) if scale.trained_baselines else 0
    work = effort.START + tideos * (effort.WRITE + effort.ENCODE)
    work += (1 + again) * scale.seeds * tideos * config.epochs * effort.TRAIN
    work += (scale.videos + (tideos if again else 0)) * (effort.RENDER + effort.WATCH)
    return work + (len(VIEWS) + again) * scale.seeds * scale.videos * effort.ANSWER


def _config(seed: int, scale: Scale) -> AlignConfig:
    return read_recipe(DEFAULT_RECIPE, [*scale.settings, f"seed={seed}"])


def _settings(config: AlignConfig, scale: Scale) -> str:
    settings = {"config": config.model_dump(mode="json"), "scale": asdict(scale)}
    return json.dumps(settings, indent=1, default=str) + "\n"


def _clear(out: Path, now: str) -> None:
    """Remove what a demo of other settings left; keep what a cut-off run of these settings can go on from."""
    path = out / SETTINGS
    if path.is_file() and path.read_text(encoding="utf-8") != now:
        folders = [out / "features", out / "videos", out / "training-videos", *sorted(out.glob("model-*"))]
        for left in folders:
            expect_all_ours(left)
        remove(out / "report.html")
        for left in folders:
            remove_folder(left)
    write_atomically(path, now)


Pairs = tuple[list[str], Tensor]


def _align(
    config: AlignConfig,
    encoder: Encoder,
    data: AlignmentSet,
    pairs: Pairs,
    out: Path,
    memory: MemoryBank,
    show: bool,
) -> VideoLanguageModel:
    model, described = new_model(config, encoder.identity, encoder.width, lambda: pairs)
    result = train(model, load_prompter(config, model.llm), data, config, out, watch=Watch(show))
    memory.save(out)
    saved.save(out, described, model.adapter_state_dict(), card(config, described, result, model))
    return model.eval()


def _ask(videos: list[MicroVideo]) -> Asked:
    pairs = [(i, q) for i, v in enumerate(videos) for q in v.questions]
    return Asked(videos, [q for _, q in pairs], [i for i, _ in pairs])


def _views(
    asked: Asked, images: list[FrameFeatures], memory: MemoryBank, encoder: Encoder, config: AlignConfig
) -> dict[str, Tensor]:
    """What the LLM is given under each condition: float32 [videos, T, D]."""
    raw = torch.stack([f.values for f in images])
    projected = torch.stack([p.features.values for p in memory.project_all(images, config.temperature)])
    captions = [c for v in asked.videos for c in v.captions]
    rng = random.Random(f"shuffle {config.seed}")
    orders = torch.tensor([_derangement(raw.shape[1], rng) for _ in images])
    return {
        "blind": torch.zeros_like(raw),
        "raw": raw,
        "centred": F.normalize(raw - raw.mean((0, 1)) + memory.values.float().mean(0), dim=-1),
        "projected": projected,
        "shuffled_frames": projected.gather(1, orders[..., None].expand_as(projected)),
        "text": encoder.encode_texts(captions).view_as(raw),
    }


def _derangement(length: int, rng: random.Random) -> list[int]:
    """A random order that differs from the right one."""
    while (order := rng.sample(range(length), length)) == sorted(order):
        pass
    return order


def _score(
    model: VideoLanguageModel,
    prompter: Prompter,
    asked: Asked,
    features: Tensor,
    protocol: Protocol,
    name: str,
    show: bool,
) -> list[Scores]:
    valid = torch.ones(features.shape[:2], dtype=torch.bool)
    with bar(f"answering: {name}", len(asked.questions), show=show) as line:
        return score_options(
            model, prompter, asked.questions, features, valid, asked.owner, protocol=protocol, progress=line.advance
        )


def _trained_baselines(
    config: AlignConfig,
    scale: Scale,
    encoder: Encoder,
    corpus: Corpus,
    memory: MemoryBank,
    out: Path,
    log: Log,
    show: bool,
) -> Iterator[tuple[str, list[VideoLanguageModel]]]:
    """The runs that train again, each over all seeds."""
    with log.stage(
        "render, decode and encode training videos", config.microworld_tideos * (effort.RENDER + effort.WATCH)
    ):
        videos = make_videos(out / "training-videos", config.microworld_tideos, config.seed + 1, show=show)
        watched = track(videos, "watching", len(videos), show=show)
        features = [encode_video(v.path, encoder, config.frames).features for v in watched]
        labels = [Labels(v.description, v.questions) for v in videos]
        labelled = AlignmentSet.make(features, labels, config.frames)
        shown = [c for v in videos for c in v.captions], torch.cat([f.values for f in features])
    training, told = corpus.alignment_set(config.frames), corpus.pairs()
    noisy = config.model_copy(update={"noise": NOISE})
    blurred = told[0], add_noise(told[1], NOISE, f"{config.seed} warm start")
    for name, data, pairs, settings in (
        ("blind_trained", training.blind(), told, config),
        ("noise_trained", training, blurred, noisy),
        ("video_trained", labelled, shown, config),
    ):
        models = []
        for number in range(scale.seeds):
            own = settings.model_copy(update={"seed": config.seed + number})
            work = config.microworld_tideos * config.epochs * effort.TRAIN
            with log.stage(f"align {name}, seed {own.seed}", work):
                models.append(_align(own, encoder, data, pairs, out / f"model-{name}-{own.seed}", memory, show))
        yield name, models


def _mean(by_seed: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*by_seed, strict=True)]


def _condition(name: str, hits: list[float], asked: Asked, seed: int) -> Condition:
    kinds = {}
    for kind in dict.fromkeys(sorted(asked.kinds)):
        chosen = [i for i, k in enumerate(asked.kinds) if k == kind]
        kinds[kind] = accuracy([hits[i] for i in chosen], [asked.groups[i] for i in chosen], seed=seed)
    return Condition(name=name, about=ABOUT[name], accuracy=accuracy(hits, asked.groups, seed=seed), kinds=kinds)


def _differences(hits: dict[str, list[float]], asked: Asked, seed: int) -> Iterator[Difference]:
    pairs: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
        ("projected", "raw", None),
        ("projected", "centred", None),
        ("projected", "noise_trained", None),
        ("projected", "blind", None),
        ("projected", "blind_trained", None),
        ("projected", "text", None),
        ("projected", "video_trained", None),
        ("blind_trained", "chance", None),
        ("projected", "shuffled_frames", TIME_KINDS),
        ("projected", "blind", TIME_KINDS),
        ("projected", "blind_trained", TIME_KINDS),
    )
    groups = asked.groups
    for a, b, kinds in pairs:
        if a in hits and b in hits:
            chosen = [i for i, k in enumerate(asked.kinds) if kinds is None or k in kinds]
            if not chosen:
                continue  # so few videos that no question is about time
            estimate = difference(
                [hits[a][i] for i in chosen], [hits[b][i] for i in chosen], [groups[i] for i in chosen], seed=seed
            )
            yield Difference(name=f"{a} - {b}", kinds=kinds, estimate=estimate)


def _parameters(model: VideoLanguageModel, prompter: Prompter) -> dict[str, int | str]:
    counted = model.parameter_report()
    return {
        "trainable": counted.total_trainable,
        "frozen (language model)": counted.frozen,
        "trainable on Llama-2 7B, the paper's setting": trainable_count(4096, 32, 32),
        "tokens per frame": prompter.tokens_per_frame,
    }


def _first_of_each_kind(asked: Asked) -> list[int]:
    """The first question of each kind, each about another video, in the order of the files: whatever was answered."""
    chosen: list[int] = []
    kinds: set[str] = set()
    videos: set[int] = set()
    for i, question in enumerate(asked.questions):
        if question.kind not in kinds and asked.owner[i] not in videos and len(chosen) < _SAMPLES:
            chosen.append(i)
            kinds.add(question.kind)
            videos.add(asked.owner[i])
    return chosen


def _sample(
    i: int, *, asked: Asked, seen: Sequence[EncodedVideo], memory: MemoryBank, scores: list[Scores], temperature: float
) -> Sample:
    """One question with its video's frames, what each was read as, and the answer."""
    question, at = asked.questions[i], asked.owner[i]
    features, video = seen[at].features, asked.videos[at]
    assert features.times is not None
    readings = memory.project(features, temperature, top_k=READINGS).readings
    assert question.answer is not None
    return Sample(
        video=f"videos/{video.path.name}",
        description=video.description,
        frames=tuple(
            FrameView(time=float(t), image=thumbnail(picture), captions=r.captions, weights=r.weights)
            for t, picture, r in zip(features.times, seen[at].images, readings, strict=True)
        ),
        question=question.question,
        kind=question.kind,
        options=question.options,
        probabilities=scores[i].probabilities,
        answer=question.answer,
        choice=scores[i].choice,
    )


def _command(out: Path, seed: int, scale: Scale) -> str:
    flag = " --full" if scale == Scale.full() else " --quick" if scale == Scale.quick() else ""
    return f"topa demo --out {shlex.quote(out.name)} --seed {seed}{flag}"
