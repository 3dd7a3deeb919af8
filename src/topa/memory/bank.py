"""The memory bank: text features, with the captions they came from.

Made from a text-space feature store (`build`); read by the engine to carry image features into text space, and to
say in words what a frame was read as.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.arrays import map_arrays, write_arrays
from ..core.artifacts import MANIFEST, Manifest, finish, output_folder, read_manifest, remove
from ..core.errors import ArtifactError, ArtifactMismatch, InputError
from ..core.string_table import StringTable
from ..features.frames import FrameFeatures
from ..features.store import FeatureStore
from .projection import project_with_rows

VALUES, CAPTIONS = "memory.safetensors", "captions.safetensors"
FILES = (VALUES, CAPTIONS, MANIFEST)
"""What `MemoryBank.save` writes."""
READINGS = 3
"""Captions that a frame is read as, where somebody looks at them."""
_ROWS_PER_READING = 8
_READ = 1 << 13  # rows of a store in memory at a time


@dataclass(frozen=True, slots=True)
class Reading:
    """What one frame was read as: the nearest captions of the memory and their weights, largest first."""

    captions: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Projected:
    """A video carried into text space. readings: what each of its frames was read as, or none."""

    features: FrameFeatures
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """values: [M, D] unit rows in text space, float16 (float32 where it was built from features); captions: M texts or
    None.

    What `load` gives stays on the disk until it is touched. hash: what the values are known by; "" to have it computed
    from them.
    """

    values: Tensor
    encoder: str
    captions: Sequence[str] | None = None
    hash: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not len(self.values):
            raise InputError(f"memory: found values of shape {tuple(self.values.shape)}; expected [M, D] with M > 0.")
        if self.captions is not None and len(self.captions) != len(self.values):
            raise InputError(f"memory: found {len(self.captions)} captions for {len(self.values)} rows.")

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device) -> MemoryBank:
        """Move its values to a device, where projections are computed then; features stay where they are."""
        return replace(self, values=self.values.to(device))

    def project(self, frames: FrameFeatures, temperature: float, *, top_k: int = 0) -> Projected:
        """Project the features of one video; see `project_all`."""
        return self.project_all([frames], temperature, top_k=top_k)[0]

    def project_all(self, videos: Sequence[FrameFeatures], temperature: float, *, top_k: int = 0) -> list[Projected]:
        """Carry image features into text space, all of them in one pass over the memory.

        top_k: how many captions to read each frame as; equal captions are added up. Readings are empty for 0, and
        where the memory has no captions.
        Raises ArtifactMismatch for features of another encoder, or outside image space.
        """
        for video in videos:
            self.expect(video)
        if not videos:
            return []
        values = torch.cat([video.values for video in videos])
        valid = torch.cat([video.valid for video in videos])
        device = self.values.device
        # Some rows have the same caption: more of them are looked at than captions are wanted.
        rows = 0 if self.captions is None else _ROWS_PER_READING * top_k
        projection = project_with_rows(values.to(device), self.values, temperature, valid.to(device), top_k=rows)
        lengths = [len(video) for video in videos]
        weights, rows_of = (torch.split(part, lengths) for part in (projection.weights, projection.rows))
        return [
            Projected(replace(video, values=own, space="projected"), self._readings(w, r, top_k))
            for video, own, w, r in zip(
                videos, torch.split(projection.values.to(values.device), lengths), weights, rows_of, strict=True
            )
        ]

    def _readings(self, weights: Tensor, rows: Tensor, top_k: int) -> tuple[Reading, ...]:
        """Turn weights and numbers of rows, [T, K] each, into captions with weights."""
        if self.captions is None or not top_k:
            return ()
        readings = []
        for frame_weights, frame_rows in zip(weights.tolist(), rows.tolist(), strict=True):
            shares: dict[str, float] = {}
            for weight, row in zip(frame_weights, frame_rows, strict=True):
                shares[self.captions[row]] = shares.get(self.captions[row], 0.0) + weight
            best = sorted(shares.items(), key=lambda item: -item[1])[:top_k]
            readings.append(Reading(tuple(caption for caption, _ in best), tuple(weight for _, weight in best)))
        return tuple(readings)

    def expect(self, frames: FrameFeatures) -> None:
        """Refuse features of another encoder, another width, or of text space."""
        if frames.encoder != self.encoder or frames.width != self.values.shape[1]:
            raise ArtifactMismatch(
                f"memory: rows are of {self.encoder} ({self.values.shape[1]} wide), the features of {frames.encoder} "
                f"({frames.width} wide). Encode the videos again: topa encode VIDEO --encoder ENCODER --out DIR"
            )
        if frames.space != "image":
            raise ArtifactMismatch(
                f"memory: found features in {frames.space} space; expected image space. Nothing to project."
            )

    def save(self, folder: Path) -> Manifest:
        """Write values (fp16) and captions, manifest last."""
        output_folder(folder, *FILES)
        remove(folder / MANIFEST)  # what stood here before is unfinished from now on
        # Whole or not at all, as a memory may be saved over the files that it is mapped from.
        write_arrays(folder / VALUES, {"values": self.values.detach().cpu().half().contiguous().numpy()})
        files = [VALUES]
        if self.captions is not None:
            write_arrays(folder / CAPTIONS, StringTable.of(self.captions).arrays())
            files.append(CAPTIONS)
        manifest = Manifest(
            kind="memory",
            encoder=self.encoder,
            width=self.values.shape[1],
            normalised=True,
            counts={"rows": len(self)},
        )
        return finish(folder, manifest, files)

    @classmethod
    def load(cls, folder: Path) -> MemoryBank:
        """Read what `save` wrote. Raises ArtifactError where the folder is not a finished memory."""
        manifest = read_manifest(folder, "memory")
        try:
            with safe_open(folder / VALUES, framework="pt") as file:
                values = file.get_tensor("values")
            texts = None
            if CAPTIONS in manifest.files:  # one that isn't named belongs to an older memory
                texts = StringTable.from_arrays(map_arrays(folder / CAPTIONS).arrays)
            bank = cls(values, manifest.encoder or "", texts, manifest.files[VALUES])
        except (OSError, SafetensorError, ValueError, KeyError, InputError) as error:
            raise ArtifactError(
                f"{folder}: found a memory that is damaged ({error}). Build the memory again."
            ) from error
        return bank


def build(
    features: Sequence[FrameFeatures], captions: Sequence[Sequence[str]] | None, rows: int, seed: int
) -> MemoryBank:
    """Draw a memory of at most `rows` frames, without replacement. captions[i][t] belongs to features[i], frame t.

    Raises InputError where there is nothing to draw from, or features are not of text space, ArtifactMismatch where
    they are of several encoders.
    """
    if not features:
        raise InputError("memory: no features to build it from. Encode Tideos first: topa encode TIDEOS --out DIR")
    if any(f.space != "text" for f in features):
        raise InputError(
            "memory: found features outside text space; expected text features. Encode Tideos, not videos."
        )
    if len(encoders := {f.encoder for f in features}) > 1:
        raise ArtifactMismatch(
            f"memory: found features of {len(encoders)} encoders: {', '.join(sorted(encoders))}; expected one. "
            "Encode all Tideos with the same: topa encode TIDEOS --encoder ENCODER --out DIR"
        )
    places = [(i, int(t)) for i, f in enumerate(features) for t in torch.nonzero(f.valid).flatten()]
    if rows < 1 or not places:
        raise InputError(f"memory: asked for {rows} rows of {len(places)} frames; expected one or more of each.")
    sample = sorted(random.Random(seed).sample(places, min(rows, len(places))))
    values = torch.stack([features[i].values[t] for i, t in sample])
    texts = None if captions is None else tuple(captions[i][t] for i, t in sample)
    return MemoryBank(values, features[0].encoder, texts)


def build_from_store(
    store: FeatureStore,
    rows: int,
    seed: int,
    *,
    ids: Sequence[str] | None = None,
    captions: Callable[[str], Sequence[str]] | None = None,
    near: float | None = None,
) -> MemoryBank:
    """Draw a memory of at most `rows` frames of a store, without replacement; only these are read, in their order.

    ids: draw among these items only. captions: gives the captions of an item's frames. near: of rows whose cosine is
    this or more, leave all but one out; see `topa.memory.near`. The same seed gives the frames that `build` draws of
    the same features in the same order. Values are float16.
    Raises ArtifactMismatch for a store outside text space, InputError where there is nothing to draw from, for unknown
    ids, for rows that are no unit rows, and where captions don't fit the frames.
    """
    if store.space != "text":
        raise ArtifactMismatch(
            f"{store.path}: holds features of {store.space} space; expected text space, as a memory is made of "
            f"captions. Encode Tideos: topa encode TIDEOS --encoder ENCODER --out DIR"
        )
    names = store.ids if ids is None else ids
    ends = np.cumsum(store.lengths(ids), dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if rows < 1 or not total:
        raise InputError(f"{store.path}: asked for {rows} rows of {total} frames; expected one or more of each.")
    sample = np.array(sorted(random.Random(seed).sample(range(total), min(rows, total))), np.int64)
    items = np.searchsorted(ends, sample, side="right")
    frames = sample - np.where(items > 0, ends[items - 1], 0)
    values = torch.empty(len(sample), store.width, dtype=torch.float16)
    for start in range(0, len(sample), _READ):
        part = slice(start, start + _READ)
        values[part] = store.pick([names[i] for i in items[part].tolist()], frames[part].tolist())
    if near is not None:
        from .near import distinct

        distinct_rows = torch.from_numpy(distinct(values, near, seed))
        values, items, frames = values[distinct_rows], items[distinct_rows.numpy()], frames[distinct_rows.numpy()]
    texts = None
    if captions is not None:
        texts = StringTable.of(_captions(store, names, items.tolist(), frames.tolist(), captions))
    return MemoryBank(values, store.encoder, texts)


def _captions(
    store: FeatureStore,
    names: Sequence[str],
    items: list[int],
    frames: list[int],
    captions: Callable[[str], Sequence[str]],
) -> Iterator[str]:
    """Yield the captions of frames that are sorted by item; each item is looked up once."""
    before = -1
    own: Sequence[str] = ()
    for item, frame in zip(items, frames, strict=True):
        if item != before:
            before, own = item, captions(names[item])
            if len(own) != store.length(names[item]):
                raise InputError(
                    f"{store.path}: {names[item]!r} has {store.length(names[item])} frames, its Tideo {len(own)}; "
                    "expected the Tideos that were encoded. Name their file with --tideos."
                )
        yield own[frame]
