"""Chat completions: a question about a video as OpenAI's clients send it, and answers in their form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Annotated, Any, TypedDict

from fastapi import APIRouter
from starlette.responses import Response

from ...inference.detokenizer import TokenText
from ...inference.request import Sampling
from ..conversation import question_of
from ..errors import RequestError
from ..events import EventStream, event
from ..openapi import errors, events
from ..schemas import (
    AssistantMessage,
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatRequest,
    ChoiceLogprobs,
    ChunkChoice,
    ChunkDelta,
    TopaExtras,
    new_id,
    now,
)
from ..types import AnswerDelta, ServedVideo
from .dependencies import DEADLINE, ServiceDependency
from .models import expect_model

router = APIRouter(prefix="/v1/chat", tags=["questions"])

_IMPOSSIBLE = -9999.0  # OpenAI's logarithm of nothing, as JSON has no infinity


class _Generation(TypedDict):
    """What a chat says about how a text is made; keywords of the service."""

    max_tokens: int | None
    sampling: Sampling
    top_logprobs: int | None
    stop: tuple[str, ...]


@router.post("/completions", response_model=ChatCompletion, responses={**errors(404, 503, 507, body=True), **events()})
async def chat(
    body: ChatRequest, service: ServiceDependency, deadline: Annotated[float, DEADLINE]
) -> ChatCompletion | Response:
    """Ask about a video as OpenAI's clients do. With `stream`, the answer comes as server-sent events, each a chunk
    (`ChatCompletionChunk`), the last one `[DONE]`."""
    expect_model(body.model, service)
    if body.top_logprobs is not None and not body.logprobs:
        raise RequestError(
            "top_logprobs: found without logprobs; expected both. Set logprobs to true.",
            code="invalid_value",
            param="top_logprobs",
        )
    asked = question_of(body.messages)
    choices = body.structured_outputs.choice if body.structured_outputs else None
    if choices and asked.question is None:
        raise RequestError(
            "messages: found options, but no question; expected one to choose an answer for. Ask it.",
            code="invalid_value",
            param="messages",
        )

    def stream(first: AnswerDelta, rest: AsyncGenerator[AnswerDelta, None], extras: TopaExtras) -> Response:
        seconds = deadline - asyncio.get_running_loop().time()
        limit = service.settings.limits.request_seconds
        return EventStream(first, rest, _Chunks(body, extras).encode, seconds=seconds, limit=limit)

    video = await service.watch(asked.video)
    if body.stream and choices is None:
        parts = service.stream(video, asked.question, **_generation(body))
        first = await anext(parts)  # what fails before it is an error of HTTP
        return stream(first, parts, _extras(video, service.warnings(video, asked.question or ""), asked.warnings))
    if choices is not None:
        served = await service.choose(video, asked.question or "", choices)
    else:
        served = await service.say(video, asked.question, **_generation(body))
    extras = _extras(video, served.answer.warnings, asked.warnings)
    if body.stream:
        whole = AnswerDelta(served.answer.text, served.tokens, served.finish, served.usage)
        return stream(whole, _nothing(), extras)
    choice = ChatChoice(
        message=AssistantMessage(content=served.answer.text),
        logprobs=_logprobs(served.tokens, body),
        finish_reason=served.finish,
    )
    return ChatCompletion(model=body.model, choices=[choice], usage=served.usage, topa=extras)


def _generation(body: ChatRequest) -> _Generation:
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return {
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "sampling": Sampling(body.temperature or 0.0, 1.0 if body.top_p is None else body.top_p, body.seed),
        "top_logprobs": (body.top_logprobs or 0) if body.logprobs else None,
        "stop": tuple(text for text in stop if text),
    }


def _extras(video: ServedVideo, *warnings: tuple[str, ...]) -> TopaExtras:
    return TopaExtras(video=video.id, evidence=video.frames, warnings=[text for some in warnings for text in some])


def _logprobs(tokens: Iterable[TokenText], body: ChatRequest) -> ChoiceLogprobs | None:
    """Return tokens in OpenAI's form; None where the chat doesn't ask for them."""

    def likely(text: str, logprob: float, raw: bytes) -> dict[str, Any]:
        return {"token": text, "logprob": max(logprob, _IMPOSSIBLE), "bytes": list(raw)}

    content = [
        likely(token.text, token.logprob, token.bytes)
        | {"top_logprobs": [likely(text, logprob, text.encode()) for text, logprob in token.top]}
        for token in tokens
    ]
    return ChoiceLogprobs(content=content) if body.logprobs else None


async def _nothing() -> AsyncGenerator[AnswerDelta, None]:
    return
    yield


class _Chunks:
    """Makes events of an answer's parts: the first part's begin with the role, the last one's end with the reason, and
    the tokens if they were requested."""

    def __init__(self, body: ChatRequest, extras: TopaExtras) -> None:
        self._body = body
        self._extras: TopaExtras | None = extras
        self._usage = bool(body.stream_options and body.stream_options.include_usage)
        self._id, self._created = new_id("chatcmpl")(), now()

    def encode(self, part: AnswerDelta) -> bytes:
        """Return the events of the next part."""
        events = b""
        if self._extras is not None:
            events += self._choice(ChunkDelta(role="assistant", content=""), topa=self._extras)
            self._extras = None
        if part.text or part.tokens:
            events += self._choice(ChunkDelta(content=part.text), _logprobs(part.tokens, self._body))
        if part.finish is not None:
            events += self._choice(ChunkDelta(), finish_reason=part.finish)
            if self._usage and part.usage is not None:
                events += self._event(choices=[], usage=part.usage)
        return events

    def _choice(
        self,
        delta: ChunkDelta,
        logprobs: ChoiceLogprobs | None = None,
        finish_reason: str | None = None,
        **fields: TopaExtras,
    ) -> bytes:
        choice = ChunkChoice(index=0, delta=delta, logprobs=logprobs, finish_reason=finish_reason)
        return self._event(choices=[choice], **fields, **({"usage": None} if self._usage else {}))

    def _event(self, **fields: Any) -> bytes:
        chunk = ChatCompletionChunk(
            id=self._id, object="chat.completion.chunk", created=self._created, model=self._body.model, **fields
        )
        return event(chunk.model_dump_json(exclude_unset=True).encode())
