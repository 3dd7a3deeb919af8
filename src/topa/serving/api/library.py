"""The library: moments that are found by words."""

from __future__ import annotations

from fastapi import APIRouter

from ..openapi import errors
from ..schemas import MomentList, MomentObject, SearchRequest, picture_path
from .dependencies import DEADLINE, ServiceDependency

router = APIRouter(prefix="/v1", tags=["library"])


@router.post("/search", dependencies=[DEADLINE], responses=errors(404, 503, body=True))
async def search(body: SearchRequest, service: ServiceDependency) -> MomentList:
    """Find moments of the library by words; with a video, when it shows them."""
    moments = await service.search(
        body.query, body.top, path=body.path, after=body.after, before=body.before, video=body.video
    )
    data = [
        MomentObject.of(moment, picture=picture_path(moment.video.id, next(iter(moment.frames), None)))
        for moment in moments
    ]
    return MomentList(query=body.query, data=data)
