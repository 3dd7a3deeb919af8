"""The API's schemas: bodies of requests, checked as they are read, and of responses, views of the domain's values.

The OpenAPI document is made from these, so that what it says is what is checked.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationInfo

from ..inference.answer import EvidenceFrame
from ..inference.explain import ExplainedFrame
from .redaction import redact

MAX_QUESTION = 4000
"""The longest question, in characters."""

Empty = Annotated[list[Any], Field(max_length=0)]
Zero = Annotated[float, Field(ge=0, le=0)]
Reference = Annotated[
    str,
    StringConstraints(min_length=1),
    Field(
        description="A video: the id of an upload (`vid_..`) or of one in the library (`lib_..`), a data URI "
        "(`data:video/mp4;base64,..`), or an http(s) address where the server fetches such.",
        examples=["lib_0123456789abcdef01234567"],
        json_schema_extra={"pattern": "^(vid_|lib_|data:|https?://)"},  # what else is sent has an error of its own
    ),
]
Question = Annotated[
    str, StringConstraints(max_length=MAX_QUESTION, pattern=r"\S"), Field(examples=["what is the color ?"])
]
Option = Annotated[str, StringConstraints(max_length=1000, pattern=r"\S")]
Options = Annotated[
    list[Option],
    Field(min_length=2, max_length=10, examples=[["red", "blue"]], json_schema_extra={"uniqueItems": True}),
]
Protocol = Literal["selection", "logits"]
MaxTokens = Annotated[int, Field(ge=1, le=1 << 31, description="Of what is said; the server's limit holds as well.")]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Warnings = list[Annotated[str, AfterValidator(redact)]]


class _StrictBody(BaseModel):
    """A request of our own: every field is checked strictly, unknown ones are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class AskRequest(_StrictBody):
    """A question about a video, or without one, over the library."""

    video: Reference | None = None
    question: Question
    choices: Options | None = None
    protocol: Protocol | None = Field(None, description="How options are compared; by default as the model learnt to.")
    max_tokens: MaxTokens | None = None
    top: int | None = Field(None, ge=1, le=16, description="Moments of the library that are read; 4 by default.")


class CaptionRequest(_StrictBody):
    """A video to be described."""

    video: Reference
    max_tokens: MaxTokens | None = None


class ExplainRequest(_StrictBody):
    """A question whose answer is to be explained; without one, the caption."""

    video: Reference
    question: Question | None = None
    choices: Options | None = None
    protocol: Protocol | None = None


class SearchRequest(_StrictBody):
    """Words to search the library for."""

    query: Question
    top: int = Field(10, ge=1, le=100)
    path: str | None = Field(None, max_length=1000, description="A glob that a video's path must match.")
    after: Seconds | None = Field(None, description="Only what comes after so many seconds of a video.")
    before: Seconds | None = None
    video: str | None = Field(None, max_length=200, description="Only in this video of the library: its id.")


class _LenientBody(BaseModel):
    """A request of OpenAI's clients: fields that change nothing here are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class TextPart(_LenientBody):
    """Words of a message."""

    type: Literal["text"]
    text: str


class VideoUrl(_LenientBody):
    """Where the video is."""

    url: Reference


class VideoPart(_LenientBody):
    """The video that a message is about."""

    type: Literal["video_url"]
    video_url: VideoUrl


ContentPart = Annotated[TextPart | VideoPart, Field(discriminator="type")]


class ChatMessage(_LenientBody):
    """A message of a chat. Only the last one of the user is read, and the video."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Field(max_length=64)] | None = None


class StreamOptions(_LenientBody):
    """include_usage: a last chunk tells the tokens."""

    include_usage: bool | None = None


class StructuredOutputs(_StrictBody):
    """choice: the options of which one is to be chosen, as vLLM has it. There is no other structure here."""

    choice: Options


class TextFormat(_StrictBody):
    """The only form of an answer."""

    type: Literal["text"]


class UnsupportedFields(_LenientBody):
    """Fields of a chat that are listed only to be refused where they would change the answer."""

    n: Literal[1] | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    tools: Empty | None = None
    tool_choice: Literal["none", "auto"] | None = None
    functions: Empty | None = None
    function_call: Literal["none", "auto"] | None = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    guided_choice: None = None
    guided_json: None = None
    guided_regex: None = None
    guided_grammar: None = None


class ChatRequest(UnsupportedFields):
    """A chat as OpenAI's clients send it. Fields that aren't listed change nothing."""

    model: str = Field(max_length=200, examples=["topa"])
    messages: list[ChatMessage] = Field(
        min_length=1,
        max_length=256,
        examples=[
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "video_url", "video_url": {"url": "lib_0123456789abcdef01234567"}},
                        {"type": "text", "text": "what is the color ?"},
                    ],
                }
            ]
        ],
    )
    structured_outputs: StructuredOutputs | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, description="0, the default here, takes the likeliest token.")
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63)
    stop: str | Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=4)] | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20, description="Needs logprobs.")


class ErrorObject(BaseModel):
    """type: invalid_request_error, authentication_error, rate_limit_error or server_error. param: the field at fault.
    code: for programs."""

    message: str
    type: Literal["invalid_request_error", "authentication_error", "rate_limit_error", "server_error"]
    param: str | None = None
    code: str


class ErrorResponse(BaseModel):
    """Why a request wasn't served."""

    error: ErrorObject = Field(
        examples=[
            {
                "message": "video: found no video of this id; expected one that was uploaded. Upload it.",
                "type": "invalid_request_error",
                "param": "video",
                "code": "video_not_found",
            }
        ]
    )


class HealthStatus(BaseModel):
    """How the server is."""

    status: Literal["ok", "busy"]


class ModelObject(BaseModel):
    """The model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["topa"] = "topa"


class ModelList(BaseModel):
    """All models: one."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


def new_id(kind: str) -> Callable[[], str]:
    """Return a maker of ids such as ask-0123.."""
    return lambda: f"{kind}-{uuid.uuid4().hex[:24]}"


def now() -> int:
    """Return the seconds since 1970."""
    return int(time.time())


def picture_path(video: str, seconds: float | None) -> str | None:
    """Return where a frame of a video can be looked at, as a path on this server."""
    return None if seconds is None else f"/v1/videos/{video}/picture?at={round(seconds, 3)}"


def _add_pictures(frames: Iterable[EvidenceFrame | ExplainedFrame], info: ValidationInfo) -> list[dict[str, Any]]:
    video = info.data.get("video") or info.data["id"]
    return [
        {own.name: getattr(frame, own.name) for own in fields(frame)} | {"picture": picture_path(video, frame.time)}
        for frame in frames
    ]


class _View(BaseModel):
    """What a value of the domain looks like over HTTP."""

    model_config = ConfigDict(from_attributes=True, json_schema_serialization_defaults_required=True)

    @classmethod
    def of(cls, value: object, **extra: Any) -> Self:
        """View a value. extra: fields that it doesn't have, or has otherwise."""
        names = cls.model_fields.keys() - extra.keys()
        return cls.model_validate({name: getattr(value, name) for name in names if hasattr(value, name)} | extra)


class EvidenceObject(_View):
    """A frame, and the captions of the memory that it was read as, with their weights."""

    time: float | None = Field(description="Seconds; null where it isn't known.")
    captions: list[str]
    weights: list[float]


class FrameObject(EvidenceObject):
    """A frame that can be looked at. picture: a path on this server."""

    picture: str | None


class VideoObject(_View):
    """A video as it is listed."""

    id: str = Field(examples=["lib_0123456789abcdef01234567"])
    object: Literal["video"] = "video"
    kind: Literal["upload", "library"]
    name: str
    bytes: int
    created: int = Field(description="Seconds since 1970.")
    duration: float = Field(description="Seconds.")
    width: int | None
    height: int | None
    truncated: bool = Field(description="The file is cut: only its first part was read.")


class VideoDetails(VideoObject):
    """A video, with the frames that the model reads."""

    frames: Annotated[list[FrameObject], BeforeValidator(_add_pictures)]


class VideoList(_View):
    """Videos of the library. has_more: ask again with `after` set to the last id."""

    object: Literal["list"] = "list"
    data: list[VideoObject]
    has_more: bool


class DeletedVideo(BaseModel):
    """An upload that is gone."""

    id: str
    object: Literal["video"] = "video"
    deleted: Literal[True] = True


class UsageObject(_View):
    """Tokens of the language model; frames count as the tokens that they are read as."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class PartObject(_View):
    """A part of a video that was read for itself. share: how much it counted. text: what it alone answers. video, name:
    of the library, where several were asked about."""

    start: float
    end: float
    share: float
    text: str
    video: str | None
    name: str | None


class AnswerObject(_View):
    """An answer. choice: the number of the chosen option, null where there are no options. probabilities, scores: one
    per option; a score is a mean negative log-likelihood. evidence: the frames it rests on. parts: of videos that were
    read one by one, the one that counted most first."""

    id: str = Field(default_factory=new_id("ask"))
    object: Literal["answer"] = "answer"
    created: int = Field(default_factory=now)
    model: str
    video: str | None
    text: str
    choice: int | None
    options: list[str]
    probabilities: list[float]
    scores: list[float]
    evidence: list[EvidenceObject]
    warnings: Warnings
    frames_by: str
    times: list[float]
    parts: list[PartObject]
    usage: UsageObject | None = Field(description="Null over the library, of which many parts were read.")


class ExplainedFrameObject(FrameObject):
    """What a frame does for the answer. support: by how much the score falls without it. attention: the share of the
    answer's attention that goes to it. probability, choice: of the chosen option, and what would be chosen, without
    it."""

    support: float
    attention: float
    probability: float | None
    choice: int | None


class ExplanationObject(_View):
    """An answer and what each frame does for it. score: what `measure` says, with all frames; blind: without any."""

    id: str = Field(default_factory=new_id("explain"))
    object: Literal["explanation"] = "explanation"
    created: int = Field(default_factory=now)
    model: str
    video: str
    target: Literal["choice", "answer", "caption"]
    question: str
    text: str
    choice: int | None
    options: list[str]
    probabilities: list[float]
    measure: str
    score: float
    blind: float
    masking: Literal["masked", "padding"]
    frames: Annotated[list[ExplainedFrameObject], BeforeValidator(_add_pictures)]
    warnings: Warnings


class MomentObject(_View):
    """A part of a video that was found. frames: seconds of the frames in it, the best one first; picture: of that."""

    video: VideoObject
    start: float
    end: float
    score: float
    frames: list[float]
    picture: str | None


class MomentList(_View):
    """What was found, best first."""

    object: Literal["list"] = "list"
    query: str
    data: list[MomentObject]


class TopLogprob(BaseModel):
    """A token that was likely in a place, or an option."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the answer, or the chosen option."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """Per token of the answer; of options, one for the whole answer, with all options."""

    content: list[TokenLogprob]
    refusal: None = None


class AssistantMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """The answer; there is one."""

    index: Literal[0] = 0
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: Literal["stop", "length"]


class TopaExtras(BaseModel):
    """What OpenAI's form has no place for."""

    video: str
    evidence: list[EvidenceObject]
    warnings: Warnings


class ChatCompletion(_View):
    """An answer in OpenAI's form."""

    id: str = Field(default_factory=new_id("chatcmpl"))
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(default_factory=now)
    model: str
    choices: list[ChatChoice]
    usage: UsageObject
    topa: TopaExtras


class ChunkDelta(BaseModel):
    """What a chunk adds."""

    role: Literal["assistant"] = "assistant"
    content: str = ""


class ChunkChoice(BaseModel):
    """A part of the answer."""

    index: Literal[0]
    delta: ChunkDelta
    logprobs: ChoiceLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class ChatCompletionChunk(BaseModel):
    """A part of an answer, as an event of a stream. Only the first one has `topa`; with
    `stream_options.include_usage`, only the last one has usage, and no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageObject | None = None
    topa: TopaExtras | None = None
