"""What the language model is shown of a video: all of it, or less, for the baselines that a score must beat.

Reads a video's features in image space, gives what the language model gets.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..features.frames import FrameFeatures
from ..inference.engine import Topa
from ..inference.video_inputs import VideoInputs
from .report import MODEL

VIEWS = (MODEL, "blind", "shuffled_frames", "single_frame", "no_projection")
"""Ways of showing videos to the model, the whole one first; `summary.ABOUT` says what they are."""
CENTRED, TEXT = "centred", "text"
"""Ways that are asked for by name: the first needs a memory, the second examples with captions."""


def baselines(engine: Topa) -> tuple[str, ...]:
    """The views that mean something for a model: without a memory there is no projection to leave out."""
    return tuple(name for name in VIEWS if name != MODEL and (name != "no_projection" or engine.memory is not None))


def ablate(
    engine: Topa,
    features: Mapping[str, FrameFeatures],
    views: Sequence[str],
    captions: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, VideoInputs]]:
    """Return what the model reads of each video under each view, by view and clip. features: by clip, in image space;
    the clips' names seed the random orders, so that they don't depend on what else is read. captions: of the frames of
    each clip, for the view `text`."""
    images = list(features.values())
    whole = [engine.inputs_of_projected(own) for own in engine.project(images)]
    inputs = {view: [_ablated(view, *pair) for pair in zip(features, whole, strict=True)] for view in views}
    if "no_projection" in views:
        inputs["no_projection"] = [engine.inputs_of_projected(image) for image in images]
    if CENTRED in views:
        inputs[CENTRED] = [engine.inputs_of_projected(image) for image in _centred(engine, images)]
    if TEXT in views:
        inputs[TEXT] = [engine.inputs_of_projected(_text(engine, (captions or {})[clip])) for clip in features]
    return {view: dict(zip(features, own, strict=True)) for view, own in inputs.items()}


def _centred(engine: Topa, images: Sequence[FrameFeatures]) -> list[FrameFeatures]:
    """The images moved by the difference of means: their own, over all of them, to that of the memory's texts."""
    assert engine.memory is not None, "the view is asked for where there is a memory"
    mean = torch.cat([image.values[image.valid] for image in images]).mean(0)
    shift = engine.memory.values.float().mean(0).cpu() - mean
    return [replace(image, values=normalize(image.values + shift, dim=-1) * image.valid[:, None]) for image in images]


def _text(engine: Topa, captions: Sequence[str]) -> FrameFeatures:
    values = engine.encoder.encode_texts(list(captions))
    return FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "text", engine.encoder.identity)


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
