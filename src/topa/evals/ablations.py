"""What the language model is shown of a video: all of it, or less, for the baselines that a score must beat.

Reads a video's features in image space, gives what the language model gets.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..features.frames import FrameFeatures
from ..inference.engine import Topa
from ..inference.video_inputs import VideoInputs
from .evaluation import MODEL

VIEWS = (MODEL, "blind", "shuffled_frames", "single_frame", "no_projection")
"""Ways of showing videos to the model, the whole one first; `summary.ABOUT` says what they are."""


def baselines(engine: Topa) -> tuple[str, ...]:
    """The views that mean something for a model: without a memory there is no projection to leave out."""
    return tuple(name for name in VIEWS if name != MODEL and (name != "no_projection" or engine.memory is not None))


def ablate(
    engine: Topa, watched: Mapping[str, FrameFeatures], views: Sequence[str]
) -> dict[str, dict[str, VideoInputs]]:
    """Return what the model reads of each video under each view, by view and clip. watched: by clip, in image space;
    the clips' names seed the random orders, so that they don't depend on what else is read."""
    images = list(watched.values())
    whole = [engine.inputs_of_projected(features) for features in engine.project(images)]
    made = {view: [_ablated(view, *pair) for pair in zip(watched, whole, strict=True)] for view in views}
    if "no_projection" in views:
        made["no_projection"] = [engine.inputs_of_projected(image) for image in images]
    return {view: dict(zip(watched, inputs, strict=True)) for view, inputs in made.items()}


def _ablated(view: str, clip: str, whole: VideoInputs) -> VideoInputs:
    """One video under a view."""
    values, valid = whole.values, whole.valid
    if view == "blind":
        return replace(whole, values=torch.zeros_like(values))
    if view == "shuffled_frames":
        return replace(whole, values=values[_order(clip, valid)])
    if view == "single_frame":
        middle = (int(valid.sum()) - 1) // 2
        single = torch.zeros_like(values)
        single[0] = values[middle]
        return replace(whole, values=single, valid=torch.arange(len(valid)) < 1)
    return whole


def _order(name: str, valid: Tensor) -> Tensor:
    """A random order of the valid frames that isn't the right one, where there is another; padding stays last."""
    number = int(valid.sum())
    rng = random.Random(f"shuffle {name}")
    order = list(range(number))
    while number > 1 and order == sorted(order):
        rng.shuffle(order)
    return torch.tensor([*order, *range(number, len(valid))])
