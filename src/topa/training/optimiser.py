"""What decays, and how fast it learns when."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..models.topa_model import VideoLanguageModel
from .config import TrainConfig


def parameter_groups(model: VideoLanguageModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Make groups for AdamW; `peak` is each group's learning rate at the end of the warm-up.

    `decay = "matrices"`: weight decay on the projector's and LoRA's matrices. Gates, biases, prompts and temporal
    vectors aren't such weights: pulling them to zero closes the gates. `decay = "all"`: on everything, as in the
    released code, whose rule spares one-dimensional parameters and which has none.
    """
    peak = config.projector_lr or config.lr
    parts: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_trainable().items():
        matrix = name == "projector.linear.weight" or name.startswith("lora.")
        rate = peak if name.startswith("projector.") else config.lr
        parts.setdefault((rate, matrix or config.decay == "all"), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, "peak": rate}
        for (rate, decays), parameters in parts.items()
    ]


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, then half a cosine to zero.

    Source: TOPA, released recipe. warmup: share of the steps.
    """
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
