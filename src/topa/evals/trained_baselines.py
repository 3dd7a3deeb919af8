"""Baselines that are trained again: without frames, with noise in place of the memory, on labelled videos.

Reads the corpus of an alignment; leaves saved models for `topa evaluate`. None of them has a memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..core.embedded import resolve
from ..core.progress import track
from ..features.encode_video import encode_video
from ..features.encoder import Encoder
from ..microworld.writer import MicroVideo
from ..models import saved
from ..training.align import Corpus, card, load_prompter, new_model
from ..training.config import AlignConfig
from ..training.data import AlignmentSet, Labels, add_noise
from ..training.loop import Watch, train
from .report import MODEL

TrainedBaseline = Literal["blind_trained", "noise_trained", "video_trained"]
ABLATIONS: dict[TrainedBaseline, str] = {"blind_trained": "blind", "noise_trained": MODEL, "video_trained": MODEL}
"""What each is asked under; `summary.ABOUT` says what they are."""
NOISE = 0.5
"""Standard deviation of the noise of `noise_trained`, over the whole unit vector."""


@dataclass(frozen=True, slots=True)
class BaselineData:
    """What baselines learn from. texts, labelled: samples of Tideos and of labelled videos. pairs, shots: captions with
    the features of text, and with those of frames: N texts, float32 [N, D]. encoder, width: of all features."""

    texts: AlignmentSet
    labelled: AlignmentSet
    pairs: tuple[list[str], Tensor]
    shots: tuple[list[str], Tensor]
    encoder: str
    width: int


def baseline_data(config: AlignConfig, corpus: Corpus, videos: Sequence[MicroVideo], *, show: bool) -> BaselineData:
    """Encode labelled videos; what is learned from text is in the corpus already."""
    encoder = Encoder.from_pretrained(resolve(config.encoder))
    encoded = track(videos, "encoding videos", len(videos), show=show)
    features = [encode_video(video.path, encoder, config.frames).features for video in encoded]
    labels = [Labels(video.description, video.questions) for video in videos]
    captions = [caption for video in videos for caption in video.captions]
    return BaselineData(
        corpus.alignment_set(config.frames),
        AlignmentSet.make(features, labels, config.frames),
        corpus.pairs(),
        (captions, torch.cat([own.values for own in features])),
        encoder.identity,
        encoder.width,
    )


def train_baseline(name: TrainedBaseline, config: AlignConfig, data: BaselineData, out: Path, *, show: bool) -> None:
    """Train a baseline into the saved model `out`; again in the same folder it resumes."""
    samples, pairs = data.texts, data.pairs
    if name == "blind_trained":
        samples = data.texts.blind()
    elif name == "noise_trained":
        config = config.model_copy(update={"noise": NOISE})
        pairs = pairs[0], add_noise(pairs[1], NOISE, f"{config.seed} warm start")
    else:
        samples, pairs = data.labelled, data.shots
    model, described = new_model(config, data.encoder, data.width, lambda: pairs)
    described = described.model_copy(update={"bridge": "raw"})
    result = train(model, load_prompter(config, model.llm), samples, config, out, watch=Watch(show))
    saved.save(out, described, model.adapter_state_dict(), card(config, described, result, model))
