"""The whole method on the micro world: write Tideos, encode them, align, and evaluate on real, held-out mp4 files.

Reads nothing; writes a folder with every artifact of the method and `report.html`.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from .core.artifacts import expect_all_ours, output_folder, remove, remove_folder, write_atomically
from .core.calibration import Forecast, seconds_per_pass
from .core.durations import rough_duration
from .core.embedded import resolve
from .core.progress import console
from .core.stages import StageLog
from .evals.ablations import CENTRED, TEXT, VIEWS
from .evals.evaluate import FILES as EVALUATION
from .evals.evaluate import RUN, Evaluation, EvaluationOutcome, evaluate
from .evals.predictions import NAME as PREDICTIONS
from .evals.publish import write_report
from .evals.records import MICRO_SEED
from .evals.report import MODEL, EvaluationReport, StageCost
from .evals.runner import place
from .evals.trained_baselines import ABLATIONS as BASELINES
from .evals.trained_baselines import baseline_data, train_baseline
from .features.run import FILES as STORE
from .microworld import effort
from .microworld.writer import FILES as VIDEO_FILES
from .microworld.writer import make_videos, write_tideos
from .models import saved
from .models.base import empty_llm
from .models.topa_model import trainable_count
from .tideos.index import SUFFIX
from .tideos.jsonl import write_jsonl
from .training.align import FEATURES, TIDEOS, align, open_corpus, run_files
from .training.config import AlignConfig, read_recipe
from .training.loop import Watch
from .training.pretrained import DEFAULT_RECIPE

SETTINGS, VIDEO_FEATURES, EVALUATIONS, TRAINING_VIDEOS = "demo.json", "video-features", "evaluations", "training-videos"
ABLATIONS = (*(view for view in VIEWS if view != MODEL), CENTRED, TEXT)
_FILES = (
    SETTINGS,
    TIDEOS,
    f"{TIDEOS}{SUFFIX}",
    *(f"{folder}{name}" for folder in ("", f"{TRAINING_VIDEOS}/") for name in VIDEO_FILES),
    *(f"{folder}/{name}" for folder in (FEATURES, f"{VIDEO_FEATURES}/part-*") for name in STORE),
    *(f"model-*/{name}" for name in run_files(None)),
    *(f"{folder}{name}" for folder in ("", f"{EVALUATIONS}/*/") for name in EVALUATION),
)
_ABOUT = (
    "A frozen language model answers questions about videos through a small adapter that learned from written stories "
    "alone. These are the first videos it ever met."
)
_NOTE = "The micro LLM knows the micro world's words only, the micro CLIP its pictures: nothing here transfers."


@dataclass(frozen=True, slots=True)
class Scale:
    """How much the demo does. settings: changes of the recipe. seeds: alignments, one after the other."""

    videos: int = 220
    settings: tuple[str, ...] = ()
    seeds: int = 1
    trained_baselines: bool = False

    @classmethod
    def quick(cls) -> Scale:
        """Return the scale of a smoke run."""
        return cls(videos=12, settings=("microworld_tideos=200", "epochs=1"))

    @classmethod
    def full(cls) -> Scale:
        """Return the scale of three seeds, with the baselines that train again."""
        return cls(seeds=3, trained_baselines=True)


def run(out: Path, *, seed: int = 0, scale: Scale | None = None, show: bool = True) -> tuple[EvaluationReport, Path]:
    """Run the demo into `out`; return the report and the path of `report.html`.

    The same command again resumes; other settings begin anew. Raises OutputError where `out` can't be written.
    """
    scale = scale or Scale()
    config = _config(seed, scale)
    _clear(output_folder(out, *_FILES), _settings(config, scale))
    tideos = config.microworld_tideos
    console.print(f"topa demo: {tideos} Tideos, {scale.videos} videos, into {out}", soft_wrap=True)
    log = StageLog(Forecast(_work(config, scale), seconds_per_pass()))
    console.print(f"expect {rough_duration(log.forecast.left)} on this machine as busy as it is, and 1.3 GB of memory")

    with log.stage("write Tideos (text only)", effort.START + tideos * effort.WRITE):
        write_jsonl(write_tideos(tideos, seed), out / TIDEOS)
    with log.stage("encode them with CLIP's text tower", tideos * effort.ENCODE):
        open_corpus(out / TIDEOS, config, out / FEATURES, show=show)
    with log.stage(f"align the frozen LLM, seed {seed}", tideos * config.epochs * effort.TRAIN):
        align(config, _model(out, seed), tideos=out / TIDEOS, features=out / FEATURES, watch=Watch(show))
    with log.stage("render held-out videos (mp4)", scale.videos * effort.RENDER):
        make_videos(out, scale.videos, seed + MICRO_SEED, show=show)
    work = effort.WATCH + (1 + len(ABLATIONS)) * effort.ANSWER
    with log.stage("decode and encode them, answer the questions", scale.videos * work):
        outcome = _evaluate(out, out, _model(out, seed), ABLATIONS, seed, show)
    if others := _train_again(config, scale, out, log, show):
        outcome = _evaluate(out, out, _model(out, seed), ABLATIONS, seed, show, others)
    report = outcome.report.model_copy(
        update={
            "title": "topa demo: the micro world",
            "about": _ABOUT,
            "command": _command(out, seed, scale),
            "seeds": {"data": seed, "alignments": scale.seeds, "videos": seed + MICRO_SEED},
            "stages": tuple(StageCost(name=name, seconds=s, peak_mb=mb) for name, s, mb in log.stages),
            "parameters": _parameters(_model(out, seed)),
            "notes": (*outcome.report.notes, _NOTE),
        }
    )
    return report, write_report(report, out)


def finished(out: Path, *, seed: int = 0, scale: Scale | None = None) -> bool:
    """Return whether a demo with these settings has run to its end in `out`, and left model, videos and report."""
    now = _settings(_config(seed, scale or Scale()), scale or Scale())
    made = [out / SETTINGS, out / "report.html", _model(out, seed) / saved.CONFIG]
    return all(path.is_file() for path in made) and made[0].read_text(encoding="utf-8") == now


def _evaluate(
    data: Path,
    out: Path,
    model: Path,
    ablations: tuple[str, ...],
    seed: int,
    show: bool,
    others: dict[str, list[Path]] | None = None,
) -> EvaluationOutcome:
    """Evaluate a model on the demo's videos, which are in `data`, into `out`."""
    settings = Evaluation("microworld", out, data, model=model, features=data / VIDEO_FEATURES, seed=seed)
    outcome = evaluate(settings, show=show, ablations=ablations, others=others)
    assert outcome is not None, "a single process has the report"
    if outcome.failure is not None:
        raise outcome.failure
    return outcome


def _train_again(config: AlignConfig, scale: Scale, out: Path, log: StageLog, show: bool) -> dict[str, list[Path]]:
    """Train from more seeds, and the baselines; return by condition the files of their predictions."""
    others: dict[str, list[Path]] = {}
    tideos = config.microworld_tideos
    seeds = [config.model_copy(update={"seed": config.seed + number}) for number in range(scale.seeds)]
    for own in seeds[1:]:
        model = _model(out, own.seed)
        with log.stage(f"align the frozen LLM, seed {own.seed}", tideos * config.epochs * effort.TRAIN):
            align(own, model, tideos=out / TIDEOS, features=out / FEATURES, watch=Watch(show))
        with log.stage(f"answer the questions, {model.name}", scale.videos * (1 + len(ABLATIONS)) * effort.ANSWER):
            _evaluate(out, out / EVALUATIONS / model.name, model, ABLATIONS, config.seed, show)
        for view in (MODEL, *ABLATIONS):
            others.setdefault(view, []).append(place(out / EVALUATIONS / model.name, view))
    if not scale.trained_baselines:
        return others
    with log.stage("render, decode and encode training videos", tideos * (effort.RENDER + effort.WATCH)):
        videos = make_videos(out / TRAINING_VIDEOS, tideos, config.seed + 1, show=show)
        data = baseline_data(config, open_corpus(out / TIDEOS, config, out / FEATURES), videos, show=show)
    for name, view in BASELINES.items():
        for own in seeds:
            model = _model(out, f"{name}-{own.seed}")
            with log.stage(f"align {name}, seed {own.seed}", tideos * config.epochs * effort.TRAIN):
                train_baseline(name, own, data, model, show=show)
            views = () if view == MODEL else (view,)
            with log.stage(f"answer the questions, {model.name}", scale.videos * (1 + len(views)) * effort.ANSWER):
                _evaluate(out, out / EVALUATIONS / model.name, model, views, config.seed, show)
            others.setdefault(name, []).append(place(out / EVALUATIONS / model.name, view))
    return others


def _work(config: AlignConfig, scale: Scale) -> float:
    """The cost of all stages together, in passes of the calibration."""
    tideos, again = config.microworld_tideos, len(BASELINES) if scale.trained_baselines else 0
    answers = scale.seeds * (1 + len(ABLATIONS))
    if again:
        answers += scale.seeds * sum(1 if view == MODEL else 2 for view in BASELINES.values())
    work = effort.START + tideos * (effort.WRITE + effort.ENCODE)
    work += (1 + again) * scale.seeds * tideos * config.epochs * effort.TRAIN
    work += (scale.videos + (tideos if again else 0)) * (effort.RENDER + effort.WATCH)
    return work + answers * scale.videos * effort.ANSWER


def _config(seed: int, scale: Scale) -> AlignConfig:
    """The recipe; nothing is held out of the Tideos, as the videos are."""
    return read_recipe(DEFAULT_RECIPE, ["validation=0", *scale.settings, f"seed={seed}"])


def _settings(config: AlignConfig, scale: Scale) -> str:
    settings = {"config": config.model_dump(mode="json"), "scale": asdict(scale)}
    return json.dumps(settings, indent=1, default=str) + "\n"


def _clear(out: Path, now: str) -> None:
    """Remove what a demo of other settings left; keep what a cut-off run of these settings can go on from."""
    path = out / SETTINGS
    if path.is_file() and path.read_text(encoding="utf-8") != now:
        names = (FEATURES, "videos", TRAINING_VIDEOS, VIDEO_FEATURES, EVALUATIONS, "baselines")
        folders = [*(out / name for name in names), *sorted(out.glob("model-*"))]
        for folder in folders:
            expect_all_ours(folder)
        for name in ("report.html", RUN, PREDICTIONS):
            remove(out / name)
        for folder in folders:
            remove_folder(folder)
    write_atomically(path, now)


def _model(out: Path, name: int | str) -> Path:
    return out / f"model-{name}"


def _parameters(folder: Path) -> dict[str, int]:
    config = saved.read_config(folder)
    report = saved.shape(empty_llm(config.llm, resolve(config.llm, weights=False)), config).parameter_report()
    return {
        "trainable": report.total_trainable,
        "frozen (language model)": report.frozen,
        "trainable on Llama-2 7B, the paper's setting": trainable_count(4096, 32, 32),
        "tokens per frame": config.tokens_per_frame,
    }


def _command(out: Path, seed: int, scale: Scale) -> str:
    flag = " --full" if scale == Scale.full() else " --quick" if scale == Scale.quick() else ""
    return f"topa demo --out {shlex.quote(out.name)} --seed {seed}{flag}"
