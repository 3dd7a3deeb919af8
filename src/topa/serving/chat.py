"""Chat completions: a question about a video as OpenAI's clients send it, and answers in their form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

from starlette.responses import Response

from . import schemas, shaping
from .cancelling import within
from .errors import RequestError
from .events import EventStream, event
from .types import FinishReason, Piece, Reply, Sampling, Usage, Watched

if TYPE_CHECKING:
    from .service import Service


class _How(TypedDict):
    """What a chat says about how a text is made; keywords of the service."""

    max_tokens: int | None
    sampling: Sampling
    top_logprobs: int | None
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a chat asks. video: a reference. question: None for a caption. warnings: what of the chat isn't read."""

    video: str
    question: str | None
    warnings: tuple[str, ...]


def asked(messages: list[schemas.Message]) -> Asked:
    """The question of the last message of the user, and the video of the last message that has one.

    Raises RequestError where there is no message of the user, no video, or several at once, or the question is too
    long.
    """
    last = next((n for n in reversed(range(len(messages))) if messages[n].role == "user"), None)
    if last is None:
        raise RequestError(
            "messages: found none of the user; expected one with the question.", code="invalid_value", param="messages"
        )
    question = "\n".join(_texts(messages[last])).strip()
    if len(question) > schemas.QUESTION:
        raise RequestError(
            f"messages: found a question of {len(question)} characters; expected at most {schemas.QUESTION}. "
            "Shorten it.",
            code="invalid_value",
            param=f"messages.{last}.content",
        )
    return Asked(_video(messages), question or None, _unread(messages, last))


async def complete(service: Service, body: schemas.ChatRequest) -> Response:
    """Answer a chat, at once or as a stream. Raises RequestError where it can't be answered as it is."""
    if body.model != service.name:
        raise no_model(body.model, service.name)
    if body.top_logprobs is not None and not body.logprobs:
        raise RequestError(
            "top_logprobs: found without logprobs; expected both. Set logprobs to true.",
            code="invalid_value",
            param="top_logprobs",
        )
    question = asked(body.messages)
    choices = body.structured_outputs.choice if body.structured_outputs else None
    if choices and question.question is None:
        raise RequestError(
            "messages: found options, but no question; expected one to choose an answer for. Ask it.",
            code="invalid_value",
            param="messages",
        )
    limit = service.settings.limits.request_seconds
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    async with within(limit):
        watched = await service.watch(question.video)
        if choices is not None:
            reply = await service.choose(watched, question.question or "", choices)
        elif not body.stream:
            reply = await service.say(watched, question.question, **_how(body))
        else:
            pieces = service.stream(watched, question.question, **_how(body))
            first = await anext(pieces)  # what fails before it is an error of HTTP
            warnings = service.warnings(watched, question.question or "")
            chunks = _Chunks(body, _told(watched, (*warnings, *question.warnings)))
            return EventStream(first, pieces, chunks.of, seconds=deadline - loop.time(), limit=limit)
    told = _told(watched, (*reply.answer.warnings, *question.warnings))
    if body.stream:
        whole = Piece(reply.answer.text, reply.tokens, reply.finish, reply.usage)
        return EventStream(whole, _nothing(), _Chunks(body, told).of, seconds=deadline - loop.time(), limit=limit)
    return Response(_completion(body, reply, told).model_dump_json(), media_type="application/json")


def no_model(found: str, served: str) -> RequestError:
    """The error of another model's name."""
    return RequestError(
        f"model: found {found!r}; expected {served!r}, which is served here.",
        status=HTTPStatus.NOT_FOUND,
        code="model_not_found",
        param="model",
    )


def _texts(message: schemas.Message) -> list[str]:
    if message.content is None or isinstance(message.content, str):
        return [message.content or ""]
    return [part.text for part in message.content if isinstance(part, schemas.TextPart)]


def _video(messages: list[schemas.Message]) -> str:
    for number, message in reversed(list(enumerate(messages))):
        parts = message.content if isinstance(message.content, list) else []
        videos = [part.video_url.url for part in parts if isinstance(part, schemas.VideoPart)]
        if len(videos) > 1:
            raise RequestError(
                f"messages: found {len(videos)} videos in one; expected one video. Ask about them one by one.",
                code="invalid_value",
                param=f"messages.{number}.content",
            )
        if videos:
            return videos[0]
    raise RequestError(
        "messages: found no video; expected a part "
        '{"type": "video_url", "video_url": {"url": ..}} with an id, a data URI or an address. Add one.',
        code="no_video",
        param="messages",
    )


def _unread(messages: list[schemas.Message], last: int) -> tuple[str, ...]:
    others = [message for number, message in enumerate(messages) if number != last and any(_texts(message))]
    told = []
    if any(message.role in ("system", "developer") for message in others):
        told.append("system messages aren't read: the model knows the question and the video alone")
    if any(message.role not in ("system", "developer") for message in others):
        told.append("other messages than the last one of the user aren't read: the model has no memory of a talk")
    return tuple(told)


def _how(body: schemas.ChatRequest) -> _How:
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return {
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "sampling": Sampling(body.temperature or 0.0, 1.0 if body.top_p is None else body.top_p, body.seed),
        "top_logprobs": (body.top_logprobs or 0) if body.logprobs else None,
        "stop": tuple(text for text in stop if text),
    }


def _told(watched: Watched, warnings: tuple[str, ...]) -> schemas.Told:
    return schemas.Told(
        video=watched.id, evidence=shaping.evidence(watched.frames), warnings=shaping.warnings(warnings)
    )


def _completion(body: schemas.ChatRequest, reply: Reply, told: schemas.Told) -> schemas.ChatCompletion:
    choice = schemas.Choice(
        message=schemas.AnswerMessage(content=reply.answer.text),
        logprobs=shaping.logprobs(reply.tokens) if body.logprobs else None,
        finish_reason=reply.finish,
    )
    return schemas.ChatCompletion(
        id=shaping.fresh("chatcmpl"),
        created=shaping.now(),
        model=body.model,
        choices=[choice],
        usage=shaping.usage(reply.usage or Usage(0, 0)),  # which only the library leaves out
        topa=told,
    )


async def _nothing() -> AsyncGenerator[Piece]:
    return
    yield


class _Chunks:
    """Makes events of pieces: the first piece's begin with the role, the last one's end with the reason, and the
    tokens if they were asked for."""

    def __init__(self, body: schemas.ChatRequest, told: schemas.Told) -> None:
        self._model = body.model
        self._logprobs = bool(body.logprobs)
        self._counts = bool(body.stream_options and body.stream_options.include_usage)
        self._told: schemas.Told | None = told
        self._id = shaping.fresh("chatcmpl")
        self._created = shaping.now()

    def of(self, piece: Piece) -> bytes:
        """The events of the next piece."""
        events = b""
        if self._told is not None:
            events += self._event(schemas.Delta(role="assistant", content=""), topa=self._told)
            self._told = None
        if piece.text or piece.tokens:
            logprobs = shaping.logprobs(piece.tokens) if self._logprobs else None
            events += self._event(schemas.Delta(content=piece.text), logprobs)
        if piece.finish is not None:
            events += self._event(schemas.Delta(), finish=piece.finish)
            if self._counts and piece.usage is not None:
                events += self._chunk([], usage=shaping.usage(piece.usage))
        return events

    def _event(
        self,
        delta: schemas.Delta,
        logprobs: schemas.Logprobs | None = None,
        finish: FinishReason | None = None,
        topa: schemas.Told | None = None,
    ) -> bytes:
        choice = schemas.ChunkChoice(index=0, delta=delta, logprobs=logprobs, finish_reason=finish)
        return self._chunk(
            [choice], **({} if topa is None else {"topa": topa}), **({"usage": None} if self._counts else {})
        )

    def _chunk(self, choices: list[schemas.ChunkChoice], **more: Any) -> bytes:
        chunk = schemas.Chunk(
            id=self._id,
            object="chat.completion.chunk",
            created=self._created,
            model=self._model,
            choices=choices,
            **more,
        )
        return event(chunk.model_dump_json(exclude_unset=True).encode())
