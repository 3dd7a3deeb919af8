"""Baselines that are trained again: without frames, with noise in place of the memory, on labelled videos.

Reads the Tideos of a demo; leaves saved models for `topa evaluate`. None of them has a memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..core.embedded import resolve
from ..core.progress import track
from ..core.stages import WorkStage
from ..features.encode_video import encode_video
from ..features.encoder import Encoder
from ..microworld import effort
from ..microworld.writer import make_videos
from ..models import saved
from ..training.align import FEATURES, TIDEOS, card, load_prompter, new_model, open_corpus
from ..training.config import AlignConfig
from ..training.data import AlignmentSet, Labels, add_noise
from ..training.loop import Watch, train
from .report import MODEL

TrainedBaseline = Literal["blind_trained", "noise_trained", "video_trained"]
ABLATIONS: dict[TrainedBaseline, str] = {"blind_trained": "blind", "noise_trained": MODEL, "video_trained": MODEL}
"""What each is asked under; `summary.ABOUT` says what they are."""
VIDEOS = "training-videos"
"""The folder of the labelled ones."""
NOISE = 0.5
"""Standard deviation of the noise of `noise_trained`, over the whole unit vector."""


class TrainedBaselines:
    """Trains them in the folder of a demo, on its Tideos and on as many labelled videos, rendered there."""

    def __init__(self, config: AlignConfig, out: Path, show: bool) -> None:
        self._config = config
        self._out = out
        self._show = show
        self._data = cache(self._read)

    def stages(self, seeds: Sequence[int]) -> list[WorkStage]:
        """Return the work: each baseline is trained from each seed, into `out/model-NAME-SEED`."""
        tideos = self._config.microworld_tideos
        videos = tideos * (effort.RENDER + effort.WATCH)
        return [
            WorkStage("render, decode and encode training videos", videos, self._data),
            *(
                WorkStage(
                    f"align {name}, seed {seed}",
                    tideos * self._config.epochs * effort.TRAIN,
                    partial(self._train, name, seed),
                )
                for name in ABLATIONS
                for seed in seeds
            ),
        ]

    def _read(self) -> _Data:
        config, out = self._config, self._out
        corpus = open_corpus(out / TIDEOS, config, out / FEATURES, show=self._show)
        encoder = Encoder.from_pretrained(resolve(config.encoder))
        videos = make_videos(out / VIDEOS, config.microworld_tideos, config.seed + 1, show=self._show)
        encoded = track(videos, "encoding videos", len(videos), show=self._show)
        features = [encode_video(video.path, encoder, config.frames).features for video in encoded]
        labels = [Labels(video.description, video.questions) for video in videos]
        return _Data(
            corpus.alignment_set(config.frames),
            AlignmentSet.make(features, labels, config.frames),
            corpus.pairs(),
            ([caption for video in videos for caption in video.captions], torch.cat([own.values for own in features])),
            encoder.identity,
            encoder.width,
        )

    def _train(self, name: TrainedBaseline, seed: int) -> None:
        data, out = self._data(), self._out / f"model-{name}-{seed}"
        config = self._config.model_copy(update={"seed": seed})
        samples, pairs = data.texts, data.pairs
        if name == "blind_trained":
            samples = data.texts.blind()
        elif name == "noise_trained":
            config = config.model_copy(update={"noise": NOISE})
            pairs = pairs[0], add_noise(pairs[1], NOISE, f"{self._config.seed} warm start")
        else:
            samples, pairs = data.labelled, data.shots
        model, described = new_model(config, data.encoder, data.width, lambda: pairs)
        described = described.model_copy(update={"bridge": "raw"})
        result = train(model, load_prompter(config, model.llm), samples, config, out, watch=Watch(self._show))
        saved.save(out, described, model.adapter_state_dict(), card(config, described, result, model))


@dataclass(frozen=True, slots=True)
class _Data:
    """texts, labelled: samples of Tideos, and of labelled videos. pairs, shots: captions with the features of text, and
    with those of frames: N texts, float32 [N, D]. encoder, width: of all features."""

    texts: AlignmentSet
    labelled: AlignmentSet
    pairs: tuple[list[str], Tensor]
    shots: tuple[list[str], Tensor]
    encoder: str
    width: int
