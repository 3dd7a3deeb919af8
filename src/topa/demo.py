"""The whole method on the micro world: write Tideos, encode them, align, and evaluate on real, held-out mp4 files.

Reads nothing; writes a folder with every artifact of the method and `report.html`.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from .core.artifacts import expect_all_ours, output_folder, remove, remove_folder, write_atomically
from .core.command import typed
from .core.printable import Hint, Printable
from .core.progress import console
from .core.stages import WorkStage, run_stages
from .evals.ablations import CENTRED, TEXT, VIEWS
from .evals.evaluate import FILES as EVALUATION
from .evals.evaluate import RUN, evaluate
from .evals.predictions import NAME as PREDICTIONS
from .evals.publish import write_report
from .evals.records import MICRO_SEED
from .evals.report import MODEL, EvaluationReport, StageCost
from .evals.runner import place
from .evals.tables import report_table
from .evals.trained_baselines import ABLATIONS as BASELINES
from .evals.trained_baselines import VIDEOS as TRAINING_VIDEOS
from .evals.trained_baselines import TrainedBaselines
from .evals.verbs import DemoConfig, EvaluateConfig
from .features.run import FILES as STORE
from .microworld import effort
from .microworld.writer import FILES as VIDEO_FILES
from .microworld.writer import make_videos, write_tideos
from .models import saved
from .models.topa_model import trainable_count
from .tideos.index import SUFFIX
from .tideos.jsonl import write_jsonl
from .training.align import FEATURES, TIDEOS, align, open_corpus, run_files
from .training.config import DEFAULT_RECIPE, AlignConfig, read_recipe
from .training.loop import Watch

SETTINGS, VIDEO_FEATURES, EVALUATIONS = "demo.json", "video-features", "evaluations"
ABLATIONS = (*(view for view in VIEWS if view != MODEL), CENTRED, TEXT)
"""All that the demo asks without; each costs as much as the questions themselves."""
_MAIN_ABLATIONS = ("blind", "shuffled_frames", "no_projection", TEXT)
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
_LLAMA = "trainable on Llama-2 7B, the paper's setting"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much the demo does. settings: changes of the recipe. seeds: alignments, one after the other. ablations: of
    the evaluations."""

    videos: int = 220
    settings: tuple[str, ...] = ()
    seeds: int = 1
    trained_baselines: bool = False
    ablations: tuple[str, ...] = _MAIN_ABLATIONS

    @classmethod
    def quick(cls) -> Scale:
        """Return the scale of a smoke run."""
        return cls(videos=12, settings=("microworld_tideos=200", "epochs=1"))

    @classmethod
    def full(cls) -> Scale:
        """Return the scale of three seeds, with the baselines that train again."""
        return cls(seeds=3, trained_baselines=True, ablations=ABLATIONS)


def run(out: Path, *, seed: int = 0, scale: Scale | None = None, show: bool = True) -> tuple[EvaluationReport, Path]:
    """Run the demo into `out`; return the report and the path of `report.html`.

    The same command again resumes; other settings begin anew. Raises OutputError where `out` can't be written.
    """
    scale = scale or Scale()
    config = _config(seed, scale)
    _clear(output_folder(out, *_FILES), _settings(config, scale))
    console.print(f"topa demo: {config.microworld_tideos} Tideos, {scale.videos} videos, into {out}", soft_wrap=True)
    costs = run_stages(_DemoStages(config, scale, out, show).stages(), need=", and 1.3 GB of memory")
    found = EvaluationReport.model_validate_json((out / "report.json").read_bytes())
    report = found.model_copy(
        update={
            "title": "topa demo: the micro world",
            "about": _ABOUT,
            "command": _command(out, seed, scale),
            "seeds": {"data": seed, "alignments": scale.seeds, "videos": seed + MICRO_SEED},
            "stages": tuple(StageCost(name=name, seconds=s, peak_mb=mb) for name, s, mb in costs),
            "parameters": {**found.parameters, _LLAMA: trainable_count(4096, 32, 32)},
            "notes": (*found.notes, _NOTE),
        }
    )
    return report, write_report(report, out)


@dataclass(frozen=True)
class DemoResult(Printable):
    """A demo that has run. page: its report."""

    config: DemoConfig
    report: EvaluationReport
    page: Path

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return self.report.model_dump(mode="json")

    def lines(self) -> Iterator[RenderableType]:
        """Yield what people read."""
        folder, sample = self.page.parent, self.report.samples[0]
        yield report_table(self.report)
        numbers = "; ".join(f"{name}: {number:,}" for name, number in self.report.parameters.items())
        yield f"parameters: {numbers}"
        yield f"report: {self.page}"
        model = folder / f"model-{self.config.seed}"
        yield Hint(f"next:   {typed('ask', folder / sample.video, sample.question, '--model', model)}")
        yield Hint(f"        {serve_command(self.config)}")


def demo(config: DemoConfig, *, show: Callable[[Printable], None]) -> None:
    """Run the demo, and serve what it has left where that is asked for; at once where it is finished.

    show: given the result, and the address of the server. Raises as `run` and `serving.serve.serve_demo` do.
    """
    if config.serve:
        from .serving.serve import expect_packages

        expect_packages()  # before minutes of work
    scale = Scale.quick() if config.quick else Scale.full() if config.full else Scale()
    if not (config.serve and finished(config.out, seed=config.seed, scale=scale)):
        report, page = run(config.out, seed=config.seed, scale=scale)
        show(DemoResult(config, report, page))
    if config.serve:
        from .serving.serve import serve_demo
        from .serving.start import announce

        started = partial(announce, show=show, open_page=True)
        serve_demo(config.out, config.seed, config.port, started=started)


def serve_command(config: DemoConfig) -> str:
    """The command that opens a page on a finished demo, whatever is installed."""
    from .core.install import checkout_folder, install_line
    from .serving.serve import missing_packages

    if checkout_folder() == Path.cwd() and Path("Makefile").is_file() and config == DemoConfig(serve=config.serve):
        return "make serve"
    command = typed("demo", "--out", config.out, *config.words, "--serve")
    return f"{install_line('serve')} && {command}" if missing_packages() else command


def finished(out: Path, *, seed: int = 0, scale: Scale | None = None) -> bool:
    """Return whether a demo with these settings has run to its end in `out`, and left model, videos and report."""
    now = _settings(_config(seed, scale or Scale()), scale or Scale())
    made = [out / SETTINGS, out / "report.html", out / f"model-{seed}" / saved.CONFIG]
    return all(path.is_file() for path in made) and made[0].read_text(encoding="utf-8") == now


@dataclass(frozen=True, slots=True)
class _DemoStages:
    """The stages; each reads what those before it have written into `out`."""

    config: AlignConfig
    scale: Scale
    out: Path
    show: bool

    def stages(self) -> list[WorkStage]:
        out, tideos, videos, seed = self.out, self.config.microworld_tideos, self.scale.videos, self.config.seed
        more, others = self._more()
        return [
            WorkStage(
                "write Tideos (text only)",
                effort.START + tideos * effort.WRITE,
                lambda: write_jsonl(write_tideos(tideos, seed), out / TIDEOS),
            ),
            WorkStage(
                "encode them with CLIP's text tower",
                tideos * effort.ENCODE,
                lambda: open_corpus(out / TIDEOS, self.config, out / FEATURES, show=self.show),
            ),
            self._align(seed),
            WorkStage(
                "render held-out videos (mp4)",
                videos * effort.RENDER,
                lambda: make_videos(out, videos, seed + MICRO_SEED, show=self.show),
            ),
            *more,
            self._answer(f"model-{seed}", out, self.scale.ablations, others),
        ]

    def _align(self, seed: int) -> WorkStage:
        config, out = self.config.model_copy(update={"seed": seed}), self.out
        model, tideos, features = out / f"model-{seed}", out / TIDEOS, out / FEATURES
        return WorkStage(
            f"align the frozen LLM, seed {seed}",
            config.microworld_tideos * config.epochs * effort.TRAIN,
            lambda: align(config, model, tideos=tideos, features=features, watch=Watch(self.show)),
        )

    def _answer(
        self, model: str, to: Path, views: Sequence[str], others: Mapping[str, Sequence[Path]] | None = None
    ) -> WorkStage:
        """Evaluate a model into `to`. others: predictions of other models, as `evaluate` takes them."""
        data, seed = self.out, self.config.seed
        config = EvaluateConfig(
            benchmark="microworld",
            out=to,
            data=data,
            model=str(data / model),
            features=data / VIDEO_FEATURES,
            seed=seed,
        )

        def do() -> None:
            outcome = evaluate(config, show=self.show, ablations=views, others=others)
            if outcome is not None and outcome.failure is not None:
                raise outcome.failure

        decoded = effort.WATCH if to == data else 0.0
        work = self.scale.videos * (decoded + (1 + len(views)) * effort.ANSWER)
        return WorkStage(f"answer questions about them, {model}", work, do)

    def _more(self) -> tuple[list[WorkStage], dict[str, list[Path]]]:
        """More seeds, and the baselines that are trained; by condition the files of their predictions."""
        stages: list[WorkStage] = []
        others: dict[str, list[Path]] = defaultdict(list)
        folder, first = self.out / EVALUATIONS, self.config.seed
        seeds = range(first, first + self.scale.seeds)
        for seed in seeds[1:]:
            model = f"model-{seed}"
            stages += [self._align(seed), self._answer(model, folder / model, self.scale.ablations)]
            for view in (MODEL, *self.scale.ablations):
                others[view].append(place(folder / model, view))
        if self.scale.trained_baselines:
            stages += TrainedBaselines(self.config, self.out, self.show).stages(seeds)
            for name, view in BASELINES.items():
                for seed in seeds:
                    model = f"model-{name}-{seed}"
                    stages.append(self._answer(model, folder / model, () if view == MODEL else (view,)))
                    others[name].append(place(folder / model, view))
        return stages, others


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


def _command(out: Path, seed: int, scale: Scale) -> str:
    flag = " --full" if scale == Scale.full() else " --quick" if scale == Scale.quick() else ""
    return f"topa demo --out {shlex.quote(out.name)} --seed {seed}{flag}"
