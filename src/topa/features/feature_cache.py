"""A cache of features of labelled videos: a folder that grows with each run that needs other videos.

    part-<hash of the list>/   a store, as `topa encode` makes it, of what was missing

What `topa encode` left in the folder itself is read as well. Only what is missing is encoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from ..core.artifacts import MANIFEST
from ..core.errors import AllFailed, ArtifactMismatch, InputError
from .clips import Clip
from .encoder import Encoder
from .frames import FrameFeatures
from .run import FAILED, encode
from .sources import ClipSource
from .store import FeatureStore


class FeatureCache:
    """The features in a folder, by the id of the clip; there may be no folder yet.

    Raises ArtifactMismatch for features of another encoder or number of frames, ArtifactError for a store that is
    damaged.
    """

    def __init__(self, folder: Path, encoder: str, frames: int) -> None:
        self.folder, self._encoder, self._frames = folder, encoder, frames
        self._of: dict[str, FeatureStore] = {}
        for path in (folder, *sorted(folder.glob("part-*"))):
            if not (path / MANIFEST).is_file():
                continue
            self.add(FeatureStore.open(path))

    def add(self, store: FeatureStore) -> None:
        """Add a finished part. Raises ArtifactMismatch as the constructor does."""
        store.expect(self._encoder, "image")
        frames = store.manifest.config.get("frames", self._frames)
        if frames != self._frames:
            raise ArtifactMismatch(
                f"{store.path}: holds {frames} frames of each video; expected {self._frames}, as the model reads. Name "
                "another folder with --features, or leave that out to have the videos encoded."
            )
        self._of |= dict.fromkeys(store, store)

    def __contains__(self, name: object) -> bool:
        return name in self._of

    def __getitem__(self, name: str) -> FrameFeatures:
        """Return features of a clip, in image space. Raises InputError where there are none, or for rows that aren't
        unit."""
        if name not in self._of:
            raise InputError(
                f"{self.folder}: found no features of {name!r}; expected those of {self._encoder}. Encode it: topa "
                "encode VIDEO --encoder ENCODER --out DIR"
            )
        return self._of[name][name]


def encode_missing(
    clips: Iterable[Clip],
    load: Callable[[], Encoder],
    identity: str,
    frames: int,
    folder: Path,
    *,
    workers: int = 1,
    show: bool = True,
) -> dict[str, str]:
    """Encode the clips that are missing in `folder`; return why clips have no features, by id.

    load: gives the encoder, and is called only where something is missing. identity: the one it must have. frames: of
    each clip. workers: videos decoded at the same time; the result is the same.
    Raises ArtifactMismatch for an encoder of another identity, and what `FeatureCache` and `run.encode` raise.
    """
    known = FeatureCache(folder, identity, frames)
    missing = [clip for name, clip in {clip.id: clip for clip in clips}.items() if name not in known]
    if not missing:
        return {}

    def expected() -> Encoder:
        encoder = load()
        if encoder.identity != identity:
            raise ArtifactMismatch(
                f"the model was aligned with the encoder {identity}; found {encoder.identity} under its name. Put the "
                "same encoder there, or align again with this one: topa align --recipe RECIPE --out DIR"
            )
        return encoder

    named = hashlib.sha256("\n".join(clip.id for clip in missing).encode()).hexdigest()
    part = folder / f"part-{named[:16]}"
    try:
        return encode(ClipSource(missing, [], frames, workers), part, identity, expected, show=show).failed
    except AllFailed:
        if not (part / FAILED).is_file():
            raise
        return {str(name): str(reason) for name, reason in json.loads((part / FAILED).read_bytes()).items()}
