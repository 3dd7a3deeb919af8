"""The verb `encode`: Tideos or videos to a feature store.

Reads Tideos (text space) or video files (image space), writes the store that all later stages read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

import torch
from PIL import Image
from torch import Tensor

from ..core.errors import InputError, UsageError, VideoError
from ..core.progress import bar
from ..core.registry import unknown
from ..tideos.tideo import TextFrame, Tideo
from .clips import Clip
from .decoding import decoders
from .encoder import Encoder
from .frames import FrameFeatures
from .fusion import Fusion, fuse
from .store import FeatureStore, FeatureStoreWriter
from .video import SampledVideo, sample_frames

_CHUNK = 1024  # Tideos whose captions are encoded together: enough to find equal ones, little enough for memory
_THUMBNAIL = (320, 320)


@dataclass(frozen=True, slots=True)
class EncodedVideo:
    """One video as features, with what a person needs to check them.

    features: image space, with times. images: a thumbnail for each frame. sampled: the frames as they were decoded.
    """

    features: FrameFeatures
    images: list[Image.Image]
    sampled: SampledVideo


def encode_tideos(
    tideos: Iterable[Tideo],
    encoder: Encoder,
    out: str | Path,
    *,
    fusion: Fusion = "mean",
    parents: Mapping[str, str] | None = None,
    show: bool = True,
) -> FeatureStore:
    """One unit row of text space for each frame of each Tideo, under the Tideo's id.

    Captions longer than the encoder reads are cut and counted in the manifest (config "cut_captions").
    Raises InputError for an id that comes twice, UsageError for an unknown fusion, OutputError where `out` can't be
    written.
    """
    if fusion not in get_args(Fusion):
        raise unknown("fusion", fusion, get_args(Fusion))
    writer = FeatureStoreWriter(out, encoder.identity, encoder.width, "text")
    cut = encoder.truncated
    stream = iter(tideos)
    with bar("encode", len(tideos) if isinstance(tideos, Sized) else None, show=show) as line:
        while chunk := list(islice(stream, _CHUNK)):
            frames = [frame for tideo in chunk for frame in tideo.frames]
            values = encode_frames(frames, encoder, fusion)
            end = 0
            for tideo in chunk:
                start, end = end, end + len(tideo.frames)
                own = values[start:end]
                valid = torch.ones(len(own), dtype=torch.bool)
                writer.add(FrameFeatures(own, valid, "text", encoder.identity), tideo.id)
                line.advance()
    return writer.close(parents, {"fusion": fusion, "cut_captions": encoder.truncated - cut})


def encode_frames(frames: Sequence[TextFrame], encoder: Encoder, fusion: Fusion) -> Tensor:
    """One unit row of text space for each textual frame: float32 [T, D]."""
    captions = [[f.caption, *f.objects] if fusion == "mean" else [f.caption] for f in frames]
    rows = encoder.encode_texts([caption for texts in captions for caption in texts])
    return fuse(rows, [len(texts) for texts in captions], fusion)


def encode_video(
    path: str | Path,
    encoder: Encoder,
    frames: int,
    *,
    start: float | None = None,
    end: float | None = None,
    short_side: int | None = None,
) -> EncodedVideo:
    """`frames` frames of a video (see `sample_frames`) as unit rows of image space, with their times.

    Raises what `sample_frames` raises.
    """
    sampled = sample_frames(path, frames, start=start, end=end, short_side=short_side)
    return EncodedVideo(_encode(sampled, encoder), [_thumbnail(picture) for picture in sampled.frames], sampled)


def encode_videos(
    videos: Iterable[str | Path] | Mapping[str, str | Path],
    encoder: Encoder,
    out: str | Path,
    *,
    frames: int,
    short_side: int | None = None,
    parents: Mapping[str, str] | None = None,
    show: bool = True,
    workers: int = 1,
) -> FeatureStore:
    """`frames` unit rows of image space for each video, under its id: the mapping's key, or the path as given.

    workers: processes that decode, while the encoder works on the videos before; the result is the same.
    A video that can't be read stops nothing: the manifest lists it with the reason (config "failed": id to reason),
    and those that are cut or damaged too (config "truncated": ids). Raises VideoError where not one could be read,
    InputError for an id that comes twice or where there is no video at all, OutputError for an unwritable folder.
    """
    if workers < 1 or frames < 1:
        raise UsageError(f"encode: found workers={workers}, frames={frames}; expected 1 or more. Ask for more.")
    named = videos.items() if isinstance(videos, Mapping) else [(str(path), path) for path in videos]
    paths: dict[str, Path] = {}
    for name, path in named:
        if name in paths:
            raise InputError(f"{path}: found twice; expected each video once. Leave one of the two out.")
        paths[name] = Path(path)
    if not paths:
        raise InputError("encode: found no video; expected at least one. Name video files.")
    writer = FeatureStoreWriter(out, encoder.identity, encoder.width, "image")
    failed: dict[str, str] = {}
    truncated: list[str] = []
    clips = [Clip(name, str(path.absolute())) for name, path in paths.items()]
    with decoders(min(workers, len(clips))) as pool, bar("encode", len(clips), show=show) as line:
        for clip, decoding in pool.ahead(clips, frames, short_side):
            try:
                sampled = decoding.result()
            except InputError as error:
                failed[clip.id] = str(error)
            else:
                writer.add(_encode(sampled, encoder), clip.id)
                if sampled.truncated:
                    truncated.append(clip.id)
            line.advance(note=f"{len(failed)} failed" if failed else None)
    if len(failed) == len(paths):
        raise VideoError(f"none of {len(paths)} videos can be read. The first: {next(iter(failed.values()))}")
    config = {"frames": frames, "short_side": short_side, "failed": failed, "truncated": truncated}
    return writer.close(parents, config)


def _encode(sampled: SampledVideo, encoder: Encoder) -> FrameFeatures:
    values = encoder.encode_images(sampled.frames)
    times = torch.tensor(sampled.times, dtype=torch.float64)
    return FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "image", encoder.identity, times)


def _thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail(_THUMBNAIL)
    return small
