"""Videos: uploads, those of the library, their files and pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from ..deadlines import time_limit
from ..multipart import FIELD, read_file
from ..openapi import content, errors, form
from ..schemas import DeletedVideo, VideoDetails, VideoList
from ..types import ServedVideo
from .dependencies import DEADLINE, ServiceDependency
from .files import send_file

router = APIRouter(prefix="/v1/videos", tags=["videos"])

VideoId = Annotated[
    str, Path(pattern="^(vid|lib)_[0-9a-f]{24}$", description="Of an upload, or of one in the library.")
]


@router.post(
    "",
    status_code=201,
    response_model=VideoDetails,
    response_description="The video was received and read.",
    openapi_extra=form(FIELD),
    responses=errors(503, 507, body=True),
)
async def upload_video(request: Request, service: ServiceDependency) -> ServedVideo:
    """Upload a video: its id stands for it from now on, until it makes room for others."""
    name, chunks = await read_file(request.headers.get("content-type", ""), request.stream())
    async with time_limit(service.settings.limits.request_seconds, running=False) as start:
        return await service.upload(_and_then(chunks, start), name)


async def _and_then(chunks: AsyncIterator[bytes], call: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    """Yield all chunks, and call a function after the last one."""
    async for chunk in chunks:
        yield chunk
    call()


@router.get("", response_model=VideoList, responses=errors(404))
async def list_videos(
    service: ServiceDependency,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=200, description="An id: those behind it are told.")] = None,
) -> dict[str, Any]:
    """List the videos of the library. Uploads aren't listed: who has the content knows the id."""
    entries, has_more = service.listing(after, limit)
    return {"data": entries, "has_more": has_more}


@router.get("/{id}", response_model=VideoDetails, dependencies=[DEADLINE], responses=errors(404, 429, 503))
async def get_video(id: VideoId, service: ServiceDependency) -> ServedVideo:
    """Tell about a video, and what each of its frames was read as."""
    return await service.watch(id)


@router.delete("/{id}", responses=errors(404, 429))
async def delete_video(id: VideoId, service: ServiceDependency) -> DeletedVideo:
    """Remove an upload."""
    service.remove(id)
    return DeletedVideo(id=id)


@router.get(
    "/{id}/content",
    response_class=Response,
    responses={
        **errors(404, 416),
        **content("*/*", "The file.", binary=True),
        **content("*/*", "The range of the file that was asked for.", status=206, binary=True),
    },
)
async def get_content(request: Request, id: VideoId, service: ServiceDependency) -> Response:
    """Send the file itself, or a range of it."""
    path, media_type, _ = service.content(id)
    return send_file(request, path, media_type)


@router.get(
    "/{id}/picture",
    response_class=Response,
    dependencies=[DEADLINE],
    responses={**errors(404, 429, 503), **content("image/jpeg", "The picture.", binary=True)},
)
async def get_picture(
    id: VideoId,
    service: ServiceDependency,
    at: Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False, description="Seconds.")] = 0.0,
) -> Response:
    """Send a picture of a video, its longer side at most 320 pixels."""
    picture = await service.picture(id, at)
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
