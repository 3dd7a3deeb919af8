"""What a run will take, before it begins: parameters, memory, steps, tokens, arithmetic.

Reads shapes and a sample of the prompts; used by `topa align --dry-run` and at the start of a run.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..core.calibration import operations_per_second
from ..core.errors import InputError
from ..core.processes import Processes
from ..models.attention import EXTRA
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt, Prompter
from ..tideos.tideo import Tideo
from .config import TrainConfig
from .data import Labels, Mix, batches_per_epoch, write_prompt

_SAMPLE = 256  # Tideos whose prompts stand for all
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class RunCost:
    """trainable: numbers that train, by part. steps, samples, tokens: of the whole run, over all processes. passes: of
    a process in a step, about. left_out: share of samples too long for `max_tokens`. Memory in bytes, of one process:
    frozen weights; adapter with gradients and AdamW's two moments; activations of the largest pass; logits of its
    targets. flop: of the whole run. width: of the LLM's rows; compute: bytes of a number in its activations."""

    trainable: dict[str, int]
    frozen: int
    samples: int
    steps: int
    tokens: int
    longest: int
    passes: float
    left_out: float
    frozen_bytes: int
    adapter_bytes: int
    activation_bytes: int
    logit_bytes: int
    flop: float
    width: int
    compute: int

    @property
    def bytes(self) -> int:
        """Total memory."""
        return self.frozen_bytes + self.adapter_bytes + self.activation_bytes + self.logit_bytes

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "bytes": self.bytes, "trainable_total": sum(self.trainable.values())}


def estimate(
    model: VideoLanguageModel,
    prompter: Prompter,
    tideos: Sequence[Tideo],
    places: range,
    config: TrainConfig,
    *,
    frames: int,
    compute: int,
    bits: int,
    processes: int = 1,
) -> RunCost:
    """Estimate a run over some `places` of `tideos`; the model may be on the meta device. frames: T. compute: bytes of
    a number in the LLM's activations; bits: of a frozen weight. Raises InputError where no sample fits into the
    prompter's window.

    Arithmetic: 2 operations per frozen weight and token forwards, as many backwards (frozen weights need no gradient of
    their own), and forwards once more with checkpointing.
    """
    rng = random.Random(f"{config.seed} estimate")
    sample = rng.sample(range(len(places)), min(_SAMPLE, len(places)))
    prompts: list[Prompt] = []
    for index in sample:
        tideo = tideos[places[index]]
        labels = Labels(tideo.description, tideo.questions)
        prompt = write_prompt(labels, min(frames, len(tideo.frames)), prompter, Mix.of(config), rng)
        if prompt is not None:
            prompts.append(prompt)
    if not prompts:
        raise InputError(
            f"training data: found no sample with a prompt of {prompter.window} tokens at most. Allow longer ones: "
            "--set max_tokens="
        )
    lengths = [len(p) for p in prompts]
    steps = config.epochs * batches_per_epoch(len(places), config.batch_size)
    mean, longest = statistics.fmean(lengths), max(lengths)
    rows = max(1, min(config.pass_tokens // longest, -(-config.batch_size // processes)))
    targets = max(p.target[1] - p.target[0] for p in prompts) * rows
    vocabulary = model.llm.config.get_text_config().vocab_size
    report = model.parameter_report()
    trainable = report.total_trainable
    tokens = int(config.epochs * len(places) * mean)
    return RunCost(
        trainable=report.trainable,
        frozen=report.frozen,
        samples=len(places),
        steps=steps,
        tokens=tokens,
        longest=longest,
        passes=max(1.0, config.batch_size / processes * mean / config.pass_tokens),
        left_out=1 - len(prompts) / len(sample),
        frozen_bytes=report.frozen * bits // 8 // (processes if config.sharded else 1),
        adapter_bytes=4 * _FLOAT * trainable,
        activation_bytes=activation_bytes(model, config, compute) * rows * longest,
        logit_bytes=targets * vocabulary * (_FLOAT if compute == _FLOAT else _FLOAT + compute),
        flop=(6.0 if config.checkpointing else 4.0) * report.frozen * tokens,
        width=model.llm.config.get_text_config().hidden_size,
        compute=compute,
    )


def measure_speed(cost: RunCost) -> tuple[str, float]:
    """Return the device that would train here, and its floating-point operations a second in matrix products of the
    LLM's width, measured for a second: no run is faster than that."""
    device = Processes().device
    dtype = torch.float32 if cost.compute == _FLOAT else torch.bfloat16
    return device.type, operations_per_second(cost.width, device, dtype)


def activation_bytes(model: VideoLanguageModel, config: TrainConfig, size: int) -> int:
    """Count the bytes that a token leaves behind for the backward pass; size: those of a number in the LLM's
    activations.

    In each layer the inputs of both norms in float32, queries, keys, values and what attention gives, each head wider
    by the video bias, what the adapter reads, gives and weighs, and three tensors of the feed-forward. With
    checkpointing: the inputs of the layers, and all of one layer.
    """
    shape = model.llm.config.get_text_config()
    heads, width, inner = shape.num_attention_heads, shape.hidden_size, getattr(shape, "intermediate_size", None)
    groups = getattr(shape, "num_key_value_heads", None) or heads
    dim = getattr(shape, "head_dim", None) or width // heads
    attention = 2 * (heads + groups) * (dim + EXTRA) + 2 * heads * dim
    weighed = heads * max((len(layer.prompt) for layer in model.adapted_layers.values()), default=0)
    own = _FLOAT * (2 * width + weighed) + size * (attention + 3 * (inner or 4 * width))
    layers = shape.num_hidden_layers
    return int(layers * width * size + own if config.checkpointing else layers * own)
