"""The models that are served: one."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from ..errors import RequestError
from ..openapi import errors
from ..schemas import ModelList, ModelObject
from ..service import Service
from .dependencies import ServiceDependency

router = APIRouter(prefix="/v1/models", tags=["models"], responses=errors())


@router.get("")
async def list_models(service: ServiceDependency) -> ModelList:
    """List the models: the one that is served."""
    return ModelList(data=[ModelObject(id=service.name, created=service.created)])


@router.get("/{id:path}", responses=errors(404))
async def get_model(id: str, service: ServiceDependency) -> ModelObject:
    """Tell about a model."""
    expect_model(id, service)
    return ModelObject(id=service.name, created=service.created)


def expect_model(name: str, service: Service) -> None:
    """Raise RequestError for the name of a model that isn't served."""
    if name != service.name:
        raise RequestError(
            f"model: found {name!r}; expected {service.name!r}, which is served here.",
            status=HTTPStatus.NOT_FOUND,
            code="model_not_found",
            param="model",
        )
