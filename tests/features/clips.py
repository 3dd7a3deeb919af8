"""Real video files whose frames carry their index as a bar code."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

BITS, BLOCK, WIDTH, HEIGHT = 10, 16, 192, 96


def barcode(index: int) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: `index` in black and white blocks along the top, moving grey noise below."""
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for bit in range(BITS):
        picture[:32, bit * BLOCK : (bit + 1) * BLOCK] = 235 if index >> bit & 1 else 20
    x = index * 7 % (WIDTH - 32)
    picture[48:80, x : x + 32] = (200, 60, 60)
    return picture


def read_barcode(picture: Image.Image) -> int:
    """The index in an upright picture of any scale."""
    grey = np.asarray(picture.convert("L").resize((WIDTH, HEIGHT)))
    return sum(1 << bit for bit in range(BITS) if grey[8:24, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4].mean() > 128)


def write_video(
    path: Path,
    times: Sequence[Fraction],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    unit: Fraction = Fraction(1, 1000),
    rotation: int = 0,
    turned: int = 0,
    options: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    audio_s: float = 0,
) -> Path:
    """A video whose frame i appears at times[i] seconds. `turned`: quarter turns of the stored pictures."""
    with av.open(str(path), "w", options=mux or {}) as container:
        if times:
            stream = container.add_stream(codec, rate=25, options=options or {})
            picture = np.rot90(barcode(0), turned)
            stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], pix_fmt
            stream.codec_context.time_base = unit
            if rotation:
                stream.set_display_rotation(rotation)
        if audio_s:
            sound = container.add_stream("aac", rate=16000, layout="mono")
            for at in range(0, int(audio_s * 16000), 1024):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                silence.sample_rate, silence.pts, silence.time_base = 16000, at, Fraction(1, 16000)
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(barcode(index), turned)), format="rgb24")
            frame.pts, frame.time_base = int(time / unit), unit
            container.mux(stream.encode(frame))
        if times:
            container.mux(stream.encode(None))
    return path


def steady(count: int, rate: int = 25) -> list[Fraction]:
    """Times of a constant frame rate."""
    return [Fraction(i, rate) for i in range(count)]
