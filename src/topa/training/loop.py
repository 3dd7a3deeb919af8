"""The training loop: a frozen LLM learns to read sequences of features, on one process or many.

Reads samples, writes a run folder: `run.json`, `metrics.jsonl`, checkpoints, the best adapter so far, `result.json`.
Running the same command again goes on where it stopped, to the bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save as to_bytes

from ..core.artifacts import output_folder, write_atomically
from ..core.errors import TopaError
from ..core.locks import exclusive
from ..core.prefetch import Prefetcher
from ..core.processes import Processes
from ..core.progress import bar, console
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter
from . import checkpoint, runfile
from .config import TrainConfig
from .data import AlignmentSet, Mix, Samples, Share, Step, batches_per_epoch, epoch_steps
from .gradients import Gradients
from .metrics import METRICS, MetricsLog, cut
from .optimiser import parameter_groups, schedule
from .reading import compute_loss
from .stopping import Stopping
from .trackers import IDENTITY, Trackers, open_trackers
from .validation import HeldOut, validate

CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
FILES = (METRICS, runfile.RESULT, BEST, IDENTITY, f"{CHECKPOINTS}/*/*")
"""What a run writes into its folder, beside `run.json`, which is read first and says more where it isn't one."""


class NotFinite(TopaError):
    """The loss or its gradient is no number. Names the samples of the step."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended. seconds: of training, over all sittings. loss: running mean. held_out: of the last adapter;
    best: of the best one, and after which step; both None where nothing was held out."""

    steps: int
    seconds: float
    loss: float
    held_out: HeldOut | None
    best: HeldOut | None
    best_step: int | None

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the last adapter on held-out questions, where there are any."""
        return None if self.held_out is None else self.held_out.accuracy

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as in `result.json`."""
        best = None if self.best is None else {"step": self.best_step, **self.best.as_json()}
        return {**asdict(self), "accuracy": self.accuracy, "best": best}


@dataclass(slots=True)
class _TrainingState:
    """What a checkpoint keeps beside tensors."""

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    held_out: HeldOut | None = None
    best: HeldOut | None = None
    best_step: int | None = None

    @classmethod
    def read(cls, about: Mapping[str, Any]) -> _TrainingState:
        held_out, best = (None if about[name] is None else HeldOut(**about[name]) for name in ("held_out", "best"))
        return cls(about["step"], about["seconds"], about["loss"], held_out, best, about["best_step"])

    def result(self) -> TrainResult:
        return TrainResult(self.step, self.seconds, self.loss, self.held_out, self.best, self.best_step)


@dataclass(frozen=True, slots=True)
class Watch:
    """How a run is watched. show: a progress bar. trackers: names, beside the metrics that are always written."""

    show: bool = True
    trackers: Sequence[str] = ()


def train(
    model: VideoLanguageModel,
    prompter: Prompter,
    data: Samples,
    config: TrainConfig,
    out: Path,
    *,
    held_out: AlignmentSet | None = None,
    kind: Literal["align", "finetune"] = "align",
    parents: Mapping[str, str] | None = None,
    watch: Watch | None = None,
    accept_changes: bool = False,
    processes: Processes | None = None,
) -> TrainResult:
    """Train the adapter of `model` in place on `data`, resuming from `out` where a run was cut off.

    A step is the same whatever the number of processes: each reads its share of the samples, and gradients are added
    up. held_out: validated every epoch, or as configured; `out/best.safetensors` is the best adapter so far. parents:
    hashes of what the samples were made of. accept_changes: go on with a run whose settings were others.
    Raises UsageError where `out` holds a run of other settings, NotFinite with the samples' names when the loss or a
    gradient is no number, OutputError where `out` can't be written or another run is at it; KeyboardInterrupt after
    a checkpoint when the run is told to stop.
    """
    output_folder(out, *FILES)
    processes = processes or Processes()
    per_epoch = batches_per_epoch(len(data), config.batch_size)
    run = _TrainingRun(model, prompter, data, config, out, held_out, processes, watch or Watch(), per_epoch)
    facts = {"samples": len(data), "processes": processes.of, "parents": dict(parents or {})}
    with exclusive(out) if processes.first else nullcontext():
        if processes.first:
            runfile.open_run(out, kind, run.steps, config, facts, accept_changes=accept_changes)
        processes.wait()
        if run.resume() and run.state.step == run.steps and (out / runfile.RESULT).is_file():
            return run.state.result()
        return run.go()


@dataclass(frozen=True, slots=True)
class _Log:
    """The log of a run: metrics and trackers in the first process, nothing in others."""

    metrics: MetricsLog | None = None
    trackers: Trackers | None = None

    def write(self, row: dict[str, Any]) -> None:
        if self.metrics is not None and self.trackers is not None:
            self.metrics.write(row)
            self.trackers.log(row, row["step"])

    def flush(self) -> None:
        if self.metrics is not None:
            self.metrics.flush()


@dataclass(slots=True)
class _TrainingRun:
    model: VideoLanguageModel
    prompter: Prompter
    data: Samples
    config: TrainConfig
    out: Path
    held_out: AlignmentSet | None
    processes: Processes
    watch: Watch
    per_epoch: int
    state: _TrainingState = field(default_factory=_TrainingState)
    optimizer: torch.optim.Optimizer = field(init=False)
    saved: float = field(init=False)

    def __post_init__(self) -> None:
        groups = parameter_groups(self.model, self.config)
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, betas=(0.9, 0.95))
        self.saved = time.monotonic()

    @property
    def steps(self) -> int:
        return self.config.epochs * self.per_epoch

    def resume(self) -> bool:
        """Go back to the newest checkpoint. Returns whether there was one."""
        about = checkpoint.load(self.out / CHECKPOINTS, self.model.named_trainable(), self.optimizer)
        if about is None:
            return False
        self.state = _TrainingState.read(about)
        console.print(f"resuming at step {self.state.step} of {self.steps}")
        return True

    def go(self) -> TrainResult:
        """Train from the current state to the end."""
        first = self.processes.first
        if first:
            cut(self.out / METRICS, self.state.step)
        gradients = Gradients(self.model.trainable_parameters(), more=2)
        steps = Prefetcher(self._plan())
        with ExitStack() as open_files, Stopping() as stopping:
            open_files.callback(steps.close)
            log = self._open_log(open_files) if first else _Log()
            line = open_files.enter_context(bar("training", self.steps, show=self.watch.show and first))
            line.advance(self.state.step)
            if not self.state.step:
                log.write(self._gates())
            before, began = self.state.seconds, time.monotonic()
            for step in steps:
                row = self._take(step, gradients, stopping, waited=steps.wait_seconds)
                self.state.seconds = before + time.monotonic() - began
                log.write(row)
                log.flush()  # others watch
                line.advance(note=_note(self.state.loss, row))
                last = self.state.step == self.steps
                if last or self.state.step % (self.config.validate_every or self.per_epoch) == 0:
                    line.advance(0, note="validating")
                    self._validate(log)
                stop = bool(gradients.beside[1].item())
                if first and (last or stop or time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes):
                    self._save()
                if stop and not last:
                    raise KeyboardInterrupt
        self.processes.wait()
        result = self.state.result()
        if first:
            write_atomically(self.out / runfile.RESULT, json.dumps(result.as_json(), indent=1) + "\n")
        return result

    def _open_log(self, open_files: ExitStack) -> _Log:
        settings = self.config.model_dump(mode="json")
        names, step = self.watch.trackers, self.state.step
        return _Log(
            open_files.enter_context(MetricsLog(self.out / METRICS)),
            open_files.enter_context(open_trackers(names, self.out, self.out.name, settings, step=step)),
        )

    def _plan(self) -> Iterator[Step]:
        share = Share(self.processes.rank, self.processes.of, self.config.pass_tokens, even=self.config.sharded)
        for epoch in range(self.state.step // self.per_epoch, self.config.epochs):
            yield from epoch_steps(
                self.data,
                self.prompter,
                Mix.of(self.config),
                batch_size=self.config.batch_size,
                seed=self.config.seed,
                epoch=epoch,
                noise=self.config.noise,
                first=max(0, self.state.step - epoch * self.per_epoch),
                share=share,
            )

    def _take(self, step: Step, gradients: Gradients, stopping: Stopping, *, waited: float) -> dict[str, Any]:
        """Take one step of the optimiser. Returns its row of metrics."""
        began = time.monotonic()
        number = self.state.step
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(number, self.steps, self.config.warmup)
        gradients.clear()
        for batch, weight in zip(step.micro_batches, step.weights, strict=True):
            loss = compute_loss(self.model, batch) * weight
            loss.backward()  # type: ignore[no-untyped-call]
            gradients.beside[0] += loss.detach()
        gradients.beside[1] = float(stopping.requested)
        gradients.add_up(self.processes)
        norm, total = gradients.clip(self.config.clip), gradients.beside[0].item()
        if not (math.isfinite(total) and math.isfinite(norm)):
            names = [self.data.name(i) for i in step.members]
            raise NotFinite(
                f"step {number}: loss {total}, gradient norm {norm}; samples {names}. Expected finite numbers. Look at "
                "these samples, or lower lr."
            )
        self.optimizer.step()
        self.state.step += 1
        self.state.loss = total if math.isnan(self.state.loss) else 0.95 * self.state.loss + 0.05 * total
        seconds = waited + time.monotonic() - began
        return {
            "step": self.state.step,
            "epoch": number // self.per_epoch,
            "loss": total,
            "lr": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
            "samples": len(step.members),
            "tokens": step.tokens,
            "cut_prompts": step.cut,
            "left_out": step.left_out,
            "tokens_per_second": round(step.tokens / seconds),
            "seconds": round(seconds, 4),
            "wait": round(waited, 4),
        }

    def _gates(self) -> dict[str, Any]:
        """Measure how far each adapted layer has opened."""
        layers = self.model.adapted_layers
        return {
            "step": self.state.step,
            "first_layer": min(layers, default=0),
            "gates": [layer.gate.detach().tanh().abs().mean().item() for layer in layers.values()],
            "video_bias": [layer.video_bias.detach().mean().item() for layer in layers.values()],
        }

    def _validate(self, log: _Log) -> None:
        """Validate on held-out samples, log it, and save the adapter if it is the best so far."""
        log.write(self._gates())
        # Layers that are spread over the processes need all of them; else the first does it exclusive.
        if self.held_out is None or not len(self.held_out) or not (self.processes.first or self.config.sharded):
            return
        measured = validate(self.model, self.prompter, self.held_out, self.config)
        log.write({"step": self.state.step, "held_out": measured.as_json()})
        self.state.held_out = measured
        if self.state.best is None or measured.rank > self.state.best.rank:
            self.state.best, self.state.best_step = measured, self.state.step
            if self.processes.first:
                state = {name: value.contiguous() for name, value in self.model.adapter_state_dict().items()}
                write_atomically(self.out / BEST, to_bytes(state))

    def _save(self) -> None:
        checkpoint.save(
            self.out / CHECKPOINTS,
            self.state.step,
            self.model.named_trainable(),
            self.optimizer,
            {name: value for name, value in asdict(self.state).items() if name != "step"},
        )
        self.saved = time.monotonic()


def _note(loss: float, row: Mapping[str, Any]) -> str:
    return f"loss {loss:.3f}, gradient {row['gradient_norm']:.2f}, {row['tokens_per_second']:,} tokens/s"
