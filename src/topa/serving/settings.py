"""What a server allows, and how it works."""

from __future__ import annotations

from dataclasses import dataclass, field

_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a request may cost. Sizes are bytes, times seconds.

    upload: of a video, uploaded or fetched. body: of any other request, a video as a data URI in it. seconds, pixels:
    the longest video and the largest picture. decode_seconds, decode_memory: what decoding one may take. kept_videos,
    kept_bytes: uploads on the disk; the one that was used least recently goes first. features: videos whose features
    are kept. waiting: requests at work at a time; more are told to come back. tokens: of an answer. request_seconds:
    after which an answer is given up.
    """

    upload: int = 200 * _MB
    body: int = 32 * _MB
    seconds: float = 3600.0
    pixels: int = 4096 * 2304
    decode_seconds: float = 60.0
    decode_memory: int = 2048 * _MB
    kept_videos: int = 256
    kept_bytes: int = 2048 * _MB
    features: int = 512
    waiting: int = 128
    tokens: int = 512
    request_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """host, port: where to listen. name: of the model, as clients call it. tokens: any of them opens the API; none
    leaves it open. origins: of pages on other hosts that may use it. urls: whether videos are fetched from http(s)
    addresses; private: also from private and loopback ones. batch: requests that the model answers together; 1 serves
    one by one. decoders: processes that decode."""

    host: str = "127.0.0.1"
    port: int = 8000
    name: str = "topa"
    tokens: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    urls: bool = False
    private: bool = False
    batch: int = 64
    decoders: int = 2
    limits: ServerLimits = field(default_factory=ServerLimits)
