"""What goes over the wire: bodies of requests, checked as they are read, and bodies of responses.

The OpenAPI document is made of these, so that what it says is what is checked.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

QUESTION = 4000
"""The longest question, in characters."""

NoneOf = Annotated[list[Any], Field(max_length=0)]
Zero = Annotated[float, Field(ge=0, le=0)]
Reference = Annotated[
    str,
    StringConstraints(min_length=1),
    Field(
        description="A video: the id of an upload (`vid_..`) or of one in the library (`lib_..`), a data URI "
        "(`data:video/mp4;base64,..`), or an http(s) address where the server fetches such.",
        examples=["lib_0123456789abcdef01234567"],
    ),
]
Question = Annotated[
    str, StringConstraints(max_length=QUESTION, pattern=r"\S"), Field(examples=["what is the color ?"])
]
Option = Annotated[str, StringConstraints(max_length=1000, pattern=r"\S")]
Options = Annotated[list[Option], Field(min_length=2, max_length=10, examples=[["red", "blue"]])]
Protocol = Literal["selection", "logits"]
MaxTokens = Annotated[int, Field(ge=1, le=1 << 31, description="Of what is said; the server's limit holds as well.")]
Seconds = Annotated[float, Field(ge=0, le=1e9)]


class Asked(BaseModel):
    """What requests of ours have in common: every field is checked strictly, unknown ones are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class AskRequest(Asked):
    """A question about a video, or without one, over the library."""

    video: Reference | None = None
    question: Question
    choices: Options | None = None
    protocol: Protocol | None = Field(None, description="How options are compared; by default as the model learnt to.")
    max_tokens: MaxTokens | None = None
    top: int | None = Field(None, ge=1, le=16, description="Moments of the library that are read; 4 by default.")


class CaptionRequest(Asked):
    """A video to be described."""

    video: Reference
    max_tokens: MaxTokens | None = None


class ExplainRequest(Asked):
    """A question whose answer is to be explained; without one, the caption."""

    video: Reference
    question: Question | None = None
    choices: Options | None = None
    protocol: Protocol | None = None


class SearchRequest(Asked):
    """Words to search the library for."""

    query: Question
    top: int = Field(10, ge=1, le=100)
    path: str | None = Field(None, max_length=1000, description="A glob that a video's path must match.")
    after: Seconds | None = Field(None, description="Only what comes after so many seconds of a video.")
    before: Seconds | None = None
    video: str | None = Field(None, max_length=200, description="Only in this video of the library: its id.")


class _Lenient(BaseModel):
    """What OpenAI's clients send: fields that change nothing here are let pass."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class TextPart(_Lenient):
    """Words of a message."""

    type: Literal["text"]
    text: str


class VideoUrl(_Lenient):
    """Where the video is."""

    url: Reference


class VideoPart(_Lenient):
    """The video that a message is about."""

    type: Literal["video_url"]
    video_url: VideoUrl


ContentPart = Annotated[TextPart | VideoPart, Field(discriminator="type")]


class Message(_Lenient):
    """A message of a chat. Only the last one of the user is read, and the video."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[ContentPart], Field(max_length=64)] | None = None


class StreamOptions(_Lenient):
    """include_usage: a last chunk tells the tokens."""

    include_usage: bool | None = None


class StructuredOutputs(Asked):
    """choice: the options of which one is to be chosen, as vLLM has it. There is no other structure here."""

    choice: Options


class PlainText(Asked):
    """The only form of an answer."""

    type: Literal["text"]


class ChatRequest(_Lenient):
    """A chat as OpenAI's clients send it. Fields that aren't listed change nothing."""

    model: str = Field(max_length=200, examples=["topa"])
    messages: list[Message] = Field(
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
    n: Literal[1] | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    tools: NoneOf | None = None
    tool_choice: Literal["none", "auto"] | None = None
    functions: NoneOf | None = None
    function_call: Literal["none", "auto"] | None = None
    response_format: PlainText | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    guided_choice: None = None
    guided_json: None = None
    guided_regex: None = None
    guided_grammar: None = None


UNSUPPORTED = frozenset(
    {
        "n",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "modalities",
        "audio",
        "guided_choice",
        "guided_json",
        "guided_regex",
        "guided_grammar",
    }
)
"""Fields of a chat that are listed only to be refused where they would change the answer."""


class Failed(BaseModel):
    """type: invalid_request_error, authentication_error, rate_limit_error or server_error. param: the field at fault.
    code: for programs."""

    message: str
    type: Literal["invalid_request_error", "authentication_error", "rate_limit_error", "server_error"]
    param: str | None = None
    code: str


class Error(BaseModel):
    """Why a request wasn't served."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "video: found no video of this id; expected one that was uploaded. Upload it.",
                        "type": "invalid_request_error",
                        "param": "video",
                        "code": "video_not_found",
                    }
                }
            ]
        }
    )

    error: Failed


class Health(BaseModel):
    """How the server is."""

    status: Literal["ok", "busy"]


class Model(BaseModel):
    """The model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["topa"] = "topa"


class Models(BaseModel):
    """All models: one."""

    object: Literal["list"] = "list"
    data: list[Model]


class Evidence(BaseModel):
    """A frame, and the captions of the memory that it was read as, with their weights."""

    time: float | None = Field(description="Seconds; null where it isn't known.")
    captions: list[str]
    weights: list[float]


class Frame(Evidence):
    """A frame that can be looked at. picture: a path on this server."""

    picture: str | None


class VideoEntry(BaseModel):
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


class Video(VideoEntry):
    """A video, with the frames that the model reads."""

    frames: list[Frame]


class Videos(BaseModel):
    """Videos of the library. has_more: ask again with `after` set to the last id."""

    object: Literal["list"] = "list"
    data: list[VideoEntry]
    has_more: bool


class Deleted(BaseModel):
    """An upload that is gone."""

    id: str
    object: Literal["video"] = "video"
    deleted: Literal[True] = True


class Usage(BaseModel):
    """Tokens of the language model; frames count as the tokens that they are read as."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Part(BaseModel):
    """A part of a video that was read for itself. share: how much it counted. text: what it alone answers. video, name:
    of the library, where several were asked about."""

    start: float
    end: float
    share: float
    text: str
    video: str | None
    name: str | None


class Answer(BaseModel):
    """An answer. choice: the number of the chosen option, null where there are no options. probabilities, scores: one
    per option; a score is a mean negative log-likelihood. evidence: the frames it rests on. parts: of videos that were
    read one by one, the one that counted most first."""

    id: str
    object: Literal["answer"] = "answer"
    created: int
    model: str
    video: str | None
    text: str
    choice: int | None
    options: list[str]
    probabilities: list[float]
    scores: list[float]
    evidence: list[Evidence]
    warnings: list[str]
    frames_by: str
    times: list[float]
    parts: list[Part]
    usage: Usage | None = Field(description="Null over the library, of which many parts were read.")


class ExplainedFrame(Frame):
    """What a frame does for the answer. support: by how much the score falls without it. attention: the share of the
    answer's attention that goes to it. probability, choice: of the chosen option, and what would be chosen, without
    it."""

    support: float
    attention: float
    probability: float | None
    choice: int | None


class Explanation(BaseModel):
    """An answer and what each frame does for it. score: what `measure` says, with all frames; blind: without any."""

    id: str
    object: Literal["explanation"] = "explanation"
    created: int
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
    frames: list[ExplainedFrame]
    warnings: list[str]


class Moment(BaseModel):
    """A part of a video that was found. frames: seconds of the frames in it, the best one first; picture: of that."""

    video: VideoEntry
    start: float
    end: float
    score: float
    frames: list[float]
    picture: str | None


class Moments(BaseModel):
    """What was found, best first."""

    object: Literal["list"] = "list"
    query: str
    data: list[Moment]


class TopLogprob(BaseModel):
    """A token that was likely in a place, or an option."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the answer, or the chosen option."""

    top_logprobs: list[TopLogprob]


class Logprobs(BaseModel):
    """Per token of the answer; of options, one for the whole answer, with all options."""

    content: list[TokenLogprob]
    refusal: None = None


class AnswerMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The answer; there is one."""

    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"]


class Told(BaseModel):
    """What OpenAI's form has no place for."""

    video: str
    evidence: list[Evidence]
    warnings: list[str]


class ChatCompletion(BaseModel):
    """An answer in OpenAI's form."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    topa: Told


class Delta(BaseModel):
    """What a chunk adds."""

    role: Literal["assistant"] = "assistant"
    content: str = ""


class ChunkChoice(BaseModel):
    """A part of the answer."""

    index: Literal[0]
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class Chunk(BaseModel):
    """A part of an answer, as an event of a stream. Only the first one has `topa`; with
    `stream_options.include_usage`, only the last one has usage, and no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    topa: Told | None = None
