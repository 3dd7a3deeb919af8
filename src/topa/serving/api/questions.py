"""Questions in topa's own form: what a chat can't express."""

from __future__ import annotations

from fastapi import APIRouter

from ..errors import RequestError
from ..openapi import errors
from ..schemas import (
    AnswerObject,
    AskRequest,
    CaptionRequest,
    ExplainRequest,
    ExplanationObject,
    PartObject,
    new_id,
)
from ..service import Service
from ..types import ServedAnswer
from .dependencies import DEADLINE, ServiceDependency

router = APIRouter(
    prefix="/v1", tags=["questions"], dependencies=[DEADLINE], responses=errors(404, 503, 507, body=True)
)
_TOP = 4


@router.post("/ask")
async def ask(body: AskRequest, service: ServiceDependency) -> AnswerObject:
    """Ask about a video, or without one over the library: one of the choices where there are any, or in words."""
    if body.video is None:
        served = await service.ask_library(
            body.question,
            body.choices or (),
            top=body.top or _TOP,
            protocol=body.protocol,
            max_tokens=body.max_tokens,
        )
        return _view(served, service, None)
    if body.top is not None:
        raise RequestError(
            "top: found with a video; expected one of both: it says how many moments of the library are read.",
            code="invalid_value",
            param="top",
        )
    video = await service.watch(body.video)
    if body.choices is not None:
        served = await service.choose(video, body.question, body.choices, protocol=body.protocol)
    else:
        served = await service.say(video, body.question, max_tokens=body.max_tokens)
    return _view(served, service, video.id)


@router.post("/caption")
async def caption(body: CaptionRequest, service: ServiceDependency) -> AnswerObject:
    """Describe a video in words."""
    video = await service.watch(body.video)
    served = await service.say(video, None, max_tokens=body.max_tokens)
    return _view(served, service, video.id).model_copy(update={"id": new_id("caption")()})


@router.post("/explain")
async def explain(body: ExplainRequest, service: ServiceDependency) -> ExplanationObject:
    """Answer, and tell what each frame does for the answer; without a question, of the caption."""
    video = await service.watch(body.video)
    explanation = await service.explain(video, body.question, body.choices or (), protocol=body.protocol)
    return ExplanationObject.of(explanation, model=service.name, video=video.id)


def _view(served: ServedAnswer, service: Service, video: str | None) -> AnswerObject:
    """Return an answer about a video, or with None over the library, as the API shows it."""
    answer = served.answer
    videos = served.videos or (video,) * len(answer.parts)
    parts = [
        PartObject.of(part, video=own, name=part.video or None) for part, own in zip(answer.parts, videos, strict=True)
    ]
    return AnswerObject.of(
        answer,
        model=service.name,
        video=video,
        frames_by=answer.frame_selection,
        parts=parts,
        usage=served.usage,
    )
