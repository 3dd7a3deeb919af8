"""Pre-alignment: a frozen LLM learns to read sequences of text features. The verb `align`.

Reads an `AlignmentSet`, writes a run folder: checkpoints, `metrics.jsonl`, and a saved model at the end. Running the
same command again goes on where it stopped, to the bit.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.artifacts import output_folder, write_atomically
from ..core.errors import ArtifactError, TopaError, UsageError
from ..core.progress import bar, console
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter
from . import checkpoint
from .config import AlignConfig
from .data import AlignmentSet, Batch, Mix, batches_per_epoch, epoch_batches
from .loss import mean_nll

METRICS = "metrics.jsonl"


class NotFinite(TopaError):
    """The loss or its gradient is no number. Names the samples of the batch."""


@dataclass(frozen=True, slots=True)
class AlignResult:
    """How a run ended. seconds: of training, over all sittings. accuracy: share of held-out questions answered right
    (see `validate`), None without any."""

    steps: int
    seconds: float
    loss: float
    accuracy: float | None


def loss_of(model: VideoLanguageModel, batch: Batch) -> Tensor:
    """Mean cross-entropy over the target tokens of the batch. Source: TOPA, section 3."""
    return mean_nll(_logits(model, batch), batch.targets.to(model.device))


def _logits(model: VideoLanguageModel, batch: Batch) -> Tensor:
    """float32 [N, V] where the targets are predicted, and nowhere else; what all rows begin with is read once."""
    # Checkpointed layers keep nothing, so there would be nothing to go on from.
    checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in model.llm.modules())
    shared = 0 if checkpointed else batch.shared
    device = model.device
    ids = batch.ids.to(device)
    logits: Tensor = model(
        ids[:, shared:],
        frames=batch.frames.to(device),
        frame_valid=batch.frame_valid.to(device),
        is_slot=batch.is_slot[:, shared:].to(device),
        attention_mask=batch.visible[:, shared:].to(device),
        context=model.begin(ids[:1, :shared], len(ids)) if shared else None,
        positions=(batch.rows.to(device), batch.columns.to(device) - shared),
    )
    return logits.float()


def parameter_groups(model: VideoLanguageModel, config: AlignConfig) -> list[dict[str, Any]]:
    """Decay for the projector's matrix only: gates, biases, prompts and temporal vectors aren't such weights.

    `peak` is each group's learning rate at the end of the warm-up.
    """
    peak = config.projector_lr or config.lr
    projector = [model.projector.linear.weight, model.projector.temporal]
    rest = [p for p in model.trainable_parameters() if all(p is not q for q in projector)]
    return [
        {"params": projector[:1], "weight_decay": config.weight_decay, "peak": peak},
        {"params": projector[1:], "weight_decay": 0.0, "peak": peak},
        {"params": rest, "weight_decay": 0.0, "peak": config.lr},
    ]


def schedule(step: int, steps: int, warmup: float) -> float:
    """The share of the peak learning rate: linear warm-up, then half a cosine to zero, per step.

    Source: TOPA, released recipe. warmup: share of the steps.
    """
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def align(
    model: VideoLanguageModel,
    prompter: Prompter,
    data: AlignmentSet,
    config: AlignConfig,
    out: Path,
    *,
    held_out: AlignmentSet | None = None,
    show: bool = True,
) -> AlignResult:
    """Train the adapter of `model` in place on `data`, resuming from `out` where a run was cut off.

    Raises UsageError where `out` holds a run of another configuration, NotFinite with the samples' numbers when the
    loss or a gradient is no number, OutputError where `out` can't be written.
    """
    output_folder(out)
    _same_run(out, config, len(data))
    steps_per_epoch = batches_per_epoch(len(data), config.batch_size)
    steps = config.epochs * steps_per_epoch
    parameters = model.named_trainable()
    optimizer = torch.optim.AdamW(parameter_groups(model, config), lr=config.lr, betas=(0.9, 0.95))
    about = checkpoint.load(out / "checkpoints", parameters, optimizer) or {"step": 0, "seconds": 0.0, "loss": math.nan}
    done, running = int(about["step"]), float(about["loss"])
    seconds = before = float(about["seconds"])
    if done:
        console.print(f"resuming at step {done} of {steps}")
    _cut_metrics(out / METRICS, done)
    began = saved = time.monotonic()
    mix = Mix(config.choose, config.answer, config.describe)
    with (out / METRICS).open("a") as metrics, bar("aligning", steps, show=show) as line:
        line.advance(done)
        for epoch in range(done // steps_per_epoch, config.epochs):
            batches = epoch_batches(
                data, prompter, mix, batch_size=config.batch_size, seed=config.seed, epoch=epoch, noise=config.noise
            )
            for number, batch in enumerate(batches, start=epoch * steps_per_epoch):
                if number < done:
                    continue
                step_began = time.monotonic()
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * schedule(number, steps, config.warmup)
                loss = loss_of(model, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(parameters.values(), config.clip)
                if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
                    raise NotFinite(
                        f"step {number}: loss {loss.item()}, gradient norm {norm.item()}; samples "
                        f"{list(batch.members)}. Expected finite numbers. Look at these samples, or lower lr."
                    )
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                running = loss.item() if math.isnan(running) else 0.95 * running + 0.05 * loss.item()
                now = time.monotonic()
                seconds = before + now - began
                row = {
                    "step": number + 1,
                    "epoch": epoch,
                    "loss": loss.item(),
                    "lr": optimizer.param_groups[0]["lr"],
                    "gradient_norm": norm.item(),
                    "cut_prompts": batch.cut,
                    "tokens_per_second": round(int(batch.visible.sum()) / (now - step_began)),
                }
                metrics.write(json.dumps(row) + "\n")
                line.advance(note=f"loss {running:.3f}, {row['tokens_per_second']} tokens/s")
                if now - saved > 60 * config.checkpoint_minutes or number + 1 == steps:
                    metrics.flush()
                    state = {"seconds": seconds, "loss": running}
                    checkpoint.save(out / "checkpoints", number + 1, parameters, optimizer, state)
                    saved = time.monotonic()
        accuracy = None
        asked = None if held_out is None else held_out.with_choices()
        if asked is not None and len(asked):
            accuracy, held_loss = validate(model, prompter, asked, config)
            metrics.write(json.dumps({"step": steps, "held_out_accuracy": accuracy, "held_out_loss": held_loss}) + "\n")
    return AlignResult(steps, seconds, running, accuracy)


@torch.no_grad()
def validate(
    model: VideoLanguageModel, prompter: Prompter, data: AlignmentSet, config: AlignConfig
) -> tuple[float, float]:
    """Held-out samples that have options, a question each: share of questions whose every target token is the likeliest
    one, and the mean loss. The target is the letter, or the answer's text where options are compared by text."""
    right, losses = [], []
    mix = Mix(1.0, 0.0, 0.0) if config.protocol == "selection" else Mix(0.0, 1.0, 0.0)
    for batch in epoch_batches(data, prompter, mix, batch_size=config.batch_size, seed=config.seed, epoch=-1):
        logits = _logits(model, batch)
        targets = batch.targets.to(logits.device)
        losses.append(F.cross_entropy(logits, targets).item())
        hit = (logits.argmax(-1) == targets).float().cpu()
        right.append(torch.ones(len(batch.ids)).scatter_reduce(0, batch.rows, hit, "amin"))
    return torch.cat(right).mean().item(), sum(losses) / len(losses)


def _same_run(out: Path, config: AlignConfig, samples: int) -> None:
    """A run folder belongs to one configuration. Raises UsageError that shows what differs."""
    path = out / "run.json"
    now = {**config.model_dump(mode="json"), "samples": samples}
    if not path.is_file():
        write_atomically(path, json.dumps(now, indent=1) + "\n")
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ArtifactError(
            f"{path}: found no settings of a run ({error}); expected JSON. Name another folder with --out."
        ) from error
    changed = [f"{k}: {before.get(k)!r} then, {v!r} now" for k, v in now.items() if before.get(k) != v]
    if changed:
        raise UsageError(
            f"{out}: holds a run with other settings ({'; '.join(changed)}). Name another folder with --out."
        )


def _cut_metrics(path: Path, step: int) -> None:
    """Forget what was logged after the checkpoint that the run goes on from; it will be logged again."""
    if path.is_file():
        kept = []
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
                if row["step"] <= step and "held_out_loss" not in row:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                break  # a line cut off by a kill; whatever follows was logged later
        path.write_text("".join(kept))
