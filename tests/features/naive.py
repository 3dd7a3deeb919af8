"""A feature store of Tideos made one Tideo after the other: what `topa encode` is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from topa.features.encode_video import encode_frames
from topa.features.encoder import Encoder
from topa.features.frames import FrameFeatures
from topa.features.store import FeatureStore, FeatureStoreWriter
from topa.tideos.tideo import Tideo


def encode_tideos(
    tideos: Iterable[Tideo],
    encoder: Encoder,
    out: Path,
    fusion: str = "mean",
    parents: dict[str, str] | None = None,
) -> FeatureStore:
    """A unit row for each frame of each Tideo."""
    writer = FeatureStoreWriter(out, encoder.identity, encoder.width, "text")
    before = encoder.truncated
    for tideo in tideos:
        values = encode_frames(tideo.frames, encoder, fusion)
        writer.add(FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "text", encoder.identity), tideo.id)
    return writer.close(parents, {"fusion": fusion, "cut_captions": encoder.truncated - before})
