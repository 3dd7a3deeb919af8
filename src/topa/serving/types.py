"""What the service hands to HTTP: videos whose frames are encoded, and answers, whole or in parts as they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..inference.answer import Answer, EvidenceFrame
from ..inference.detokenizer import TextPiece, TokenText
from ..inference.generator import FinishReason
from ..inference.request import Sampling as Sampling
from ..inference.video_inputs import VideoInputs

Kind = Literal["upload", "library"]


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """A video as it is listed. id: `vid_..` of an upload, `lib_..` of the library. name: for display, no path. bytes:
    of the file. created: seconds since 1970. duration: seconds. width, height: pixels, None where nobody has looked.
    truncated: the file is cut."""

    id: str
    kind: Kind
    name: str
    bytes: int
    created: int
    duration: float
    width: int | None = None
    height: int | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class ServedVideo:
    """A video whose frames are encoded. frames: in order of time, with what each was read as; inputs: as the engine
    reads it; the rest is as in `VideoEntry`."""

    id: str
    kind: Kind
    name: str
    bytes: int
    created: int
    duration: float
    width: int | None
    height: int | None
    truncated: bool
    frames: tuple[EvidenceFrame, ...]
    inputs: VideoInputs = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class VideoMoment:
    """A part of a video that matches a search. start, end: seconds. score: the larger the better. frames: seconds of
    the frames in it, the best one first."""

    video: VideoEntry
    start: float
    end: float
    score: float
    frames: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RequestUsage:
    """What a request took, in tokens of the language model; frames count as the tokens that they are read as."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class AnswerDelta(TextPiece):
    """A part of an answer as it is made. The last piece has finish and usage, and no other has."""

    usage: RequestUsage | None = None


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """A whole answer. usage: None over a library, of which many parts were read. finish: why it ended. tokens: those
    that were requested. videos: ids of the videos of `answer.parts`, in their order, where the answer is over the
    library."""

    answer: Answer
    usage: RequestUsage | None
    finish: FinishReason = "stop"
    tokens: tuple[TokenText, ...] = ()
    videos: tuple[str, ...] = ()
