"""The API apart from the chat: models, videos, and what a chat can't express."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from . import chat, schemas, shaping
from .cancelling import within
from .documents import events, gives, plain, takes, takes_a_file
from .errors import RequestError
from .files import send_file
from .forms import file_of
from .reading import read

if TYPE_CHECKING:
    from .service import Service

Id = Annotated[str, Path(pattern="^(vid|lib)_[0-9a-f]{24}$", description="Of an upload, or of one in the library.")]
_TOP = 4


def as_json(body: BaseModel, status: int = 200) -> Response:
    """A response with such a body."""
    return Response(body.model_dump_json(), status, media_type="application/json")


def add_routes(api: FastAPI, service: Service) -> None:
    """All of the API, for a service."""
    _add_models(api, service)
    _add_chat(api, service)
    _add_videos(api, service)
    _add_questions(api, service)


def _add_models(api: FastAPI, service: Service) -> None:
    model = schemas.Model(id=service.name, created=service.created)

    @api.get("/v1/models", tags=["models"], operation_id="listModels", responses=gives(schemas.Models))
    async def list_models() -> Response:
        """List the models: the one that is served."""
        return as_json(schemas.Models(data=[model]))

    @api.get("/v1/models/{id:path}", tags=["models"], operation_id="getModel", responses=gives(schemas.Model, 404))
    async def get_model(id: str) -> Response:
        """Tell about a model."""
        if id != model.id:
            raise chat.no_model(id, model.id)
        return as_json(model)


def _add_chat(api: FastAPI, service: Service) -> None:
    @api.post(
        "/v1/chat/completions",
        tags=["questions"],
        operation_id="chat",
        openapi_extra=takes(schemas.ChatRequest),
        responses=gives(schemas.ChatCompletion, 404, 503, 507, content=events(), reads=True),
    )
    async def complete(request: Request) -> Response:
        """Ask about a video as OpenAI's clients do. With `stream`, the answer comes as server-sent events, each a
        chunk (`Chunk`), the last one `[DONE]`."""
        return await chat.complete(service, await read(request, schemas.ChatRequest))


def _add_videos(api: FastAPI, service: Service) -> None:
    seconds = service.settings.limits.request_seconds

    @api.post(
        "/v1/videos",
        tags=["videos"],
        operation_id="uploadVideo",
        status_code=201,
        openapi_extra=takes_a_file(),
        responses=gives(schemas.Video, 503, 507, status=201, about="The video was received and read.", reads=True),
    )
    async def upload(request: Request) -> Response:
        """Upload a video: its id stands for it from now on, until it makes room for others."""
        name, content = await file_of(request.headers.get("content-type", ""), request.stream())
        return as_json(shaping.video(await service.upload(content, name)), 201)

    @api.get("/v1/videos", tags=["videos"], operation_id="listVideos", responses=gives(schemas.Videos, 404))
    async def list_videos(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(max_length=200, description="An id: those behind it are told.")] = None,
    ) -> Response:
        """List the videos of the library. Uploads aren't listed: who has the content knows the id."""
        found, more = service.listing(after, limit)
        return as_json(schemas.Videos(data=[shaping.entry(of) for of in found], has_more=more))

    @api.get("/v1/videos/{id}", tags=["videos"], operation_id="getVideo", responses=gives(schemas.Video, 404, 429, 503))
    async def get_video(id: Id) -> Response:
        """Tell about a video, and what each of its frames was read as."""
        async with within(seconds):
            return as_json(shaping.video(await service.watch(id)))

    @api.delete(
        "/v1/videos/{id}", tags=["videos"], operation_id="deleteVideo", responses=gives(schemas.Deleted, 404, 429)
    )
    async def delete_video(id: Id) -> Response:
        """Remove an upload."""
        service.remove(id)
        return as_json(schemas.Deleted(id=id))

    @api.get(
        "/v1/videos/{id}/content",
        tags=["videos"],
        operation_id="getContent",
        response_class=Response,
        responses={
            **gives(None, 404, 416, content=plain("*/*", binary=True), about="The file."),
            206: {"description": "The range of the file that was asked for.", "content": plain("*/*", binary=True)},
        },
    )
    async def get_content(request: Request, id: Id) -> Response:
        """The file itself, or a range of it."""
        path, media_type, _ = service.content(id)
        return send_file(request, path, media_type)

    @api.get(
        "/v1/videos/{id}/picture",
        tags=["videos"],
        operation_id="getPicture",
        response_class=Response,
        responses=gives(None, 404, 429, 503, content=plain("image/jpeg", binary=True), about="The picture."),
    )
    async def get_picture(
        id: Id, at: Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False, description="Seconds.")] = 0.0
    ) -> Response:
        """A picture of a video, its longer side at most 320 pixels."""
        async with within(seconds):
            picture = await service.picture(id, at)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _add_questions(api: FastAPI, service: Service) -> None:
    seconds = service.settings.limits.request_seconds
    model = service.name

    @api.post(
        "/v1/ask",
        tags=["questions"],
        operation_id="ask",
        openapi_extra=takes(schemas.AskRequest),
        responses=gives(schemas.Answer, 404, 503, 507, reads=True),
    )
    async def ask(request: Request) -> Response:
        """Ask about a video, or without one over the library: one of the choices where there are any, or in words."""
        body = await read(request, schemas.AskRequest)
        async with within(seconds):
            if body.video is None:
                reply = await service.ask_library(
                    body.question,
                    body.choices or (),
                    top=body.top or _TOP,
                    protocol=body.protocol,
                    max_tokens=body.max_tokens,
                )
                return as_json(shaping.answer(reply, model=model, about=None, kind="ask"))
            if body.top is not None:
                raise RequestError(
                    "top: found with a video; expected one of both: it says how many moments of the library are read.",
                    code="invalid_value",
                    param="top",
                )
            watched = await service.watch(body.video)
            if body.choices is not None:
                reply = await service.choose(watched, body.question, body.choices, protocol=body.protocol)
            else:
                reply = await service.say(watched, body.question, max_tokens=body.max_tokens)
        return as_json(shaping.answer(reply, model=model, about=watched.id, kind="ask"))

    @api.post(
        "/v1/caption",
        tags=["questions"],
        operation_id="caption",
        openapi_extra=takes(schemas.CaptionRequest),
        responses=gives(schemas.Answer, 404, 503, 507, reads=True),
    )
    async def caption(request: Request) -> Response:
        """Describe a video in words."""
        body = await read(request, schemas.CaptionRequest)
        async with within(seconds):
            watched = await service.watch(body.video)
            reply = await service.say(watched, None, max_tokens=body.max_tokens)
        return as_json(shaping.answer(reply, model=model, about=watched.id, kind="caption"))

    @api.post(
        "/v1/explain",
        tags=["questions"],
        operation_id="explain",
        openapi_extra=takes(schemas.ExplainRequest),
        responses=gives(schemas.Explanation, 404, 503, 507, reads=True),
    )
    async def explain(request: Request) -> Response:
        """Answer, and tell what each frame does for the answer; without a question, of the caption."""
        body = await read(request, schemas.ExplainRequest)
        async with within(seconds):
            watched = await service.watch(body.video)
            found = await service.explain(watched, body.question, body.choices or (), protocol=body.protocol)
        return as_json(shaping.explanation(found, model=model, about=watched.id))

    @api.post(
        "/v1/search",
        tags=["library"],
        operation_id="search",
        openapi_extra=takes(schemas.SearchRequest),
        responses=gives(schemas.Moments, 404, 503, reads=True),
    )
    async def search(request: Request) -> Response:
        """Find moments of the library by words; with a video, when it shows them."""
        body = await read(request, schemas.SearchRequest)
        async with within(seconds):
            found = await service.search(
                body.query, body.top, path=body.path, after=body.after, before=body.before, video=body.video
            )
        return as_json(shaping.moments(body.query, found))
