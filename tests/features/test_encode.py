"""Frames of a Tideo and of a video become unit rows."""

from __future__ import annotations

import torch

from topa.features.encode_video import encode_frames, encode_video
from topa.features.video import sample_frames
from topa.tideos.tideo import TextFrame, Tideo

from .clips import read_barcode


def tideo(name: str, *frames: tuple[str, ...]) -> Tideo:
    return Tideo(
        id=name, frames=tuple(TextFrame(caption=first, objects=rest) for first, *rest in frames), description="it moves"
    )


TIDEOS = [
    tideo("one", ("a red ball rolls", "a red ball"), ("a ball falls down",)),
    tideo("two", ("a person walks", "a person", "blue box"), ("a person stands",), ("a red ball rolls", "a red ball")),
]


def test_each_frame_is_the_mean_of_its_captions(clip):
    for one in TIDEOS:
        rows = []
        for frame in one.frames:
            mean = clip.encode_texts([frame.caption, *frame.objects]).mean(0)
            rows.append(mean / mean.norm())
        assert torch.allclose(encode_frames(one.frames, clip, "mean"), torch.stack(rows), atol=1e-5)


def test_captions_alone(clip):
    captions = [frame.caption for frame in TIDEOS[1].frames]
    found = encode_frames(TIDEOS[1].frames, clip, "caption")
    assert torch.allclose(found, clip.encode_texts(captions), atol=1e-6)


def test_one_video(clip, long_gop):
    encoded = encode_video(long_gop, clip, 4)
    sampled = sample_frames(long_gop, 4)
    assert encoded.features.space == "image"
    assert encoded.features.times.tolist() == sampled.times
    assert torch.allclose(encoded.features.values, clip.encode_images(sampled.frames), atol=1e-6)
    assert [read_barcode(picture) for picture in encoded.sampled.frames] == [25, 75, 125, 175]
    assert encode_video(long_gop, clip, 1, start=4, end=6).features.times.tolist() == [5.0]
