"""Files that are made to do harm."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def playlists(target: str) -> dict[str, str]:
    """Texts, by their kind, that have FFmpeg open a file or an address of their choice."""
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:9.0,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000">'
        f"<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "xml": '<?xml version="1.0"?>\n<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        "</CompositionPlaylist>",
        "idx": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x480\nid: en, index: 0\n"
        "timestamp: 00:00:01:000, filepos: 000000000\n",
        "ssa": "[Script Info]\nScriptType: v4.00+\n\n[Events]\nDialogue: 0,0:00:00.00,0:00:09.00,,,0,0,0,,hello\n",
        "txt": "An ordinary text, which FFmpeg would draw in letters.\n" * 99,
    }


def box(kind: str, content: bytes) -> bytes:
    """A box of an mp4 file."""
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def refer(movie: bytes, target: Path) -> bytes:
    """A QuickTime movie whose pictures lie in another file, by an alias record as Macintoshes wrote it.

    movie: one whose index (moov) is its last box.
    """
    name = str(target).encode()
    alias = bytes(10) + bytes(1 + 27) + bytes(12) + bytes(1 + 63) + bytes(16) + struct.pack(">hh", -1, -1) + bytes(16)
    padded = name + bytes(len(name) % 2)
    alias += struct.pack(">HH", 2, len(padded)) + padded + struct.pack(">hH", -1, 0)
    old_at = movie.index(b"dref") - 4
    old = movie[old_at : old_at + struct.unpack(">I", movie[old_at : old_at + 4])[0]]
    new = box("dref", struct.pack(">II", 0, 1) + box("alis", bytes(4) + alias))
    changed = bytearray(movie[:old_at] + new + movie[old_at + len(old) :])
    for outer in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = changed.index(outer) - 4
        size = struct.unpack(">I", changed[at : at + 4])[0]
        changed[at : at + 4] = struct.pack(">I", size + len(new) - len(old))
    return bytes(changed)


def giant(path: Path, side: int) -> Path:
    """An AVI of one black PNG, side x side pixels in a few kilobytes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = side, side, "monob"
        frame = av.VideoFrame(side, side, "monob")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def belittle(avi: Path, side: int) -> Path:
    """The same, with a header that says side x side."""
    data = bytearray(avi.read_bytes())
    main = data.index(b"avih") + 8
    data[main + 32 : main + 40] = struct.pack("<II", side, side)
    form = data.index(b"strf") + 8
    data[form + 4 : form + 12] = struct.pack("<ii", side, side)
    avi.write_bytes(data)
    return avi


def many(path: Path, frames: int, rate: int) -> Path:
    """An AVI of so many equal frames, as two were encoded, a few bytes each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"g": "600"})
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.full((24, 16), 128, np.uint8), "yuv420p")
        for number in range(2):
            picture.pts, picture.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    movi = data.index(b"movi") - 8
    end = movi + 8 + struct.unpack("<I", data[movi + 4 : movi + 8])[0]
    chunk = data.rindex(b"00dc", movi, end)
    content = data[movi + 8 : chunk] + data[chunk:end] * (frames - 1)
    whole = data[12:movi] + struct.pack("<4sI", b"LIST", len(content)) + content
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(whole), b"AVI ") + whole)
    return path


def claiming(movie: bytes, samples: int) -> bytes:
    """An mp4 whose table of sizes says that it has so many samples of a byte each."""
    at = movie.index(b"stsz") + 8
    return movie[:at] + struct.pack(">II", 1, samples) + movie[at + 8 :]


def compressed_index(size: int) -> bytes:
    """A QuickTime movie with a compressed index that says it has so many bytes."""
    packed = zlib.compress(bytes(50 << 20), 9)
    index = box("dcom", b"zlib") + box("cmvd", struct.pack(">I", size) + packed)
    return box("ftyp", b"qt  " + bytes(8)) + box("moov", box("cmov", index))
