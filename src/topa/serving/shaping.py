"""From what the service knows to what goes over the wire."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from ..inference.answer import EvidenceFrame
from ..inference.explain import Explanation
from . import schemas
from .public import public
from .types import Entry, Found, Reply, TokenText, Usage, Watched

_IMPOSSIBLE = -9999.0  # OpenAI's logarithm of nothing, as JSON has no infinity


def fresh(kind: str) -> str:
    """A new id, such as ask-0123.."""
    return f"{kind}-{uuid.uuid4().hex[:24]}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def picture(video: str, at: float | None) -> str | None:
    """Where a frame can be looked at. at: seconds."""
    return None if at is None else f"/v1/videos/{video}/picture?at={round(at, 3)}"


def entry(of: Entry | Watched) -> schemas.VideoEntry:
    """A video without its frames."""
    return schemas.VideoEntry(
        id=of.id,
        kind=of.kind,
        name=of.name,
        bytes=of.bytes,
        created=of.created,
        duration=of.duration,
        width=of.width,
        height=of.height,
        truncated=of.truncated,
    )


def video(of: Watched) -> schemas.Video:
    """A video with its frames."""
    frames = [
        schemas.Frame(
            time=frame.time,
            captions=list(frame.captions),
            weights=list(frame.weights),
            picture=picture(of.id, frame.time),
        )
        for frame in of.frames
    ]
    return schemas.Video(**entry(of).model_dump(), frames=frames)


def evidence(frames: Iterable[EvidenceFrame]) -> list[schemas.Evidence]:
    """The frames of an answer."""
    return [schemas.Evidence(time=f.time, captions=list(f.captions), weights=list(f.weights)) for f in frames]


def usage(of: Usage) -> schemas.Usage:
    """Tokens, with their sum."""
    return schemas.Usage(
        prompt_tokens=of.prompt_tokens,
        completion_tokens=of.completion_tokens,
        total_tokens=of.prompt_tokens + of.completion_tokens,
    )


def warnings(of: Iterable[str]) -> list[str]:
    """What the user should know, without a path."""
    return [public(warning) for warning in of]


def answer(reply: Reply, *, model: str, about: str | None, kind: str) -> schemas.Answer:
    """A whole answer. about: the video's id, None over the library. kind: of its id."""
    of = reply.answer
    videos = reply.videos or (None,) * len(of.parts)
    parts = [
        schemas.Part(
            start=part.start,
            end=part.end,
            share=part.share,
            text=part.text,
            video=whose or about,
            name=part.video or None,
        )
        for part, whose in zip(of.parts, videos, strict=True)
    ]
    return schemas.Answer(
        id=fresh(kind),
        created=now(),
        model=model,
        video=about,
        text=of.text,
        choice=of.choice,
        options=list(of.options),
        probabilities=list(of.probabilities),
        scores=list(of.scores),
        evidence=evidence(of.evidence),
        warnings=warnings(of.warnings),
        frames_by=of.frame_selection,
        times=list(of.times),
        parts=parts,
        usage=None if reply.usage is None else usage(reply.usage),
    )


def explanation(of: Explanation, *, model: str, about: str) -> schemas.Explanation:
    """An answer, with what each frame of the video `about` does for it."""
    frames = [
        schemas.ExplainedFrame(
            time=frame.time,
            captions=list(frame.captions),
            weights=list(frame.weights),
            picture=picture(about, frame.time),
            support=frame.support,
            attention=frame.attention,
            probability=frame.probability,
            choice=frame.choice,
        )
        for frame in of.frames
    ]
    return schemas.Explanation(
        id=fresh("explain"),
        created=now(),
        model=model,
        video=about,
        target=of.target,
        question=of.question,
        text=of.text,
        choice=of.choice,
        options=list(of.options),
        probabilities=list(of.probabilities),
        measure=of.measure,
        score=of.score,
        blind=of.blind,
        masking=of.masking,
        frames=frames,
        warnings=warnings(of.warnings),
    )


def moments(query: str, found: Iterable[Found]) -> schemas.Moments:
    """What a search found."""
    data = [
        schemas.Moment(
            video=entry(moment.video),
            start=moment.start,
            end=moment.end,
            score=moment.score,
            frames=list(moment.frames),
            picture=picture(moment.video.id, moment.frames[0] if moment.frames else None),
        )
        for moment in found
    ]
    return schemas.Moments(query=query, data=data)


def logprobs(tokens: Iterable[TokenText]) -> schemas.Logprobs:
    """Tokens of a text, in OpenAI's form."""
    return schemas.Logprobs(
        content=[
            schemas.TokenLogprob(
                token=token.text,
                logprob=max(token.logprob, _IMPOSSIBLE),
                bytes=list(token.bytes),
                top_logprobs=[_likely(text, logprob) for text, logprob in token.top],
            )
            for token in tokens
        ]
    )


def _likely(text: str, logprob: float) -> schemas.TopLogprob:
    return schemas.TopLogprob(token=text, logprob=max(logprob, _IMPOSSIBLE), bytes=list(text.encode()))
