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
from .report import MODEL

VIEWS = (MODEL, "blind", "shuffled_frames", "single_frame", "no_projection")
"""Ways of showing videos to the model, the whole one first; `summary.ABOUT` says what they are."""
CENTRED, TEXT = "centred", "text"
"""Ways that are asked for by name: the first needs a memory, the second examples with captions."""


def baselines(engine: Topa) -> tuple[str, ...]:
    """The views that mean something for a model: without a memory there is no projection to leave out."""
    return tuple(name for name in VIEWS if name != MODEL and (name != "no_projection" or engine.memory is not None))


def show(
    engine: Topa,
    watched: Mapping[str, FrameFeatures],
    views: Sequence[str],
    captions: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """What the LLM gets of each video under each view: values float32 [V, T, D], valid bool [V, T], in the order of
    `watched`. watched: by clip, in image space; its names seed the random orders, so that they don't depend on what
    else is shown. captions: by clip, for the view `text`; of the frames, in their order."""
    images = list(watched.values())
    inputs = [engine.inputs(features) for features in engine.project(images)]
    values, valid = _stacked(inputs)
    shown: dict[str, tuple[Tensor, Tensor]] = {}
    for view in views:
        if view == MODEL:
            shown[view] = values, valid
        elif view == "blind":
            shown[view] = torch.zeros_like(values), valid
        elif view == "shuffled_frames":
            orders = [_order(name, own) for name, own in zip(watched, valid, strict=True)]
            shown[view] = torch.stack([v[order] for v, order in zip(values, orders, strict=True)]), valid
        elif view == "single_frame":
            middle = (valid.sum(dim=1) - 1) // 2
            single = torch.zeros_like(values)
            single[:, 0] = values[torch.arange(len(values)), middle]
            shown[view] = single, torch.arange(valid.shape[1]).expand(valid.shape) < 1
        elif view == "no_projection":
            shown[view] = _stacked([engine.inputs(image) for image in images])
        elif view == CENTRED:
            shown[view] = _stacked([engine.inputs(image) for image in _centred(engine, images)])
        elif view == TEXT:
            shown[view] = _stacked([engine.inputs(_read(engine, (captions or {})[name])) for name in watched])
    return shown


def _centred(engine: Topa, images: Sequence[FrameFeatures]) -> list[FrameFeatures]:
    """The images moved by the difference of means: their own, over all of them, to that of the memory's texts."""
    assert engine.memory is not None, "the view is asked for where there is a memory"
    mean = torch.cat([image.values[image.valid] for image in images]).mean(0)
    shift = engine.memory.values.float().mean(0).cpu() - mean
    return [replace(image, values=normalize(image.values + shift, dim=-1) * image.valid[:, None]) for image in images]


def _read(engine: Topa, captions: Sequence[str]) -> FrameFeatures:
    values = engine.encoder.encode_texts(list(captions))
    return FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "text", engine.encoder.identity)


def _stacked(inputs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Videos of unlike numbers of frames, padded: [V, T, D] and bool [V, T]."""
    longest = max(len(values) for values, _ in inputs)
    values = torch.zeros(len(inputs), longest, inputs[0][0].shape[1])
    valid = torch.zeros(len(inputs), longest, dtype=torch.bool)
    for row, (own, there) in enumerate(inputs):
        values[row, : len(own)], valid[row, : len(own)] = own, there
    return values, valid


def _order(name: str, valid: Tensor) -> Tensor:
    """A random order of the valid frames that isn't the right one, where there is another; padding stays last."""
    number = int(valid.sum())
    rng = random.Random(f"shuffle {name}")
    order = list(range(number))
    while number > 1 and order == sorted(order):
        rng.shuffle(order)
    return torch.tensor([*order, *range(number, len(valid))])
