"""The base of every value that evaluations write to files or read from them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen value that knows its fields: an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
