"""The models that come inside the package, and what a model's name is loaded from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .artifacts import sha256
from .hub import download, locate
from .registry import unknown

_WEIGHTS = Path(__file__).parents[1] / "microworld" / "weights"
PAPER_ENCODER = "openai/clip-vit-large-patch14"
"""The encoder of the paper and of everything that its authors released; the default of verbs that encode."""
NAMES = {"microworld/clip": _WEIGHTS / "clip", "microworld/llm": _WEIGHTS / "llm"}


def fingerprint() -> str:
    """Eight hex digits that change when the weights of a micro model do."""
    digest = hashlib.sha256()
    for folder in NAMES.values():
        digest.update(bytes.fromhex(sha256(folder / "model.safetensors")))
    return digest.hexdigest()[:8]


def resolve(name: str, *, weights: bool = True) -> str:
    """What a model is loaded from: the folder behind `microworld/clip` or `microworld/llm`, or behind a revision of a
    repository on the hub, `org/name@revision`; any other name as it is. weights: False where a configuration will do.

    Raises UsageError for an unknown `microworld/...` name, and what `core.hub` raises.
    """
    if name in NAMES:
        return str(NAMES[name])
    if name.startswith("microworld/"):
        raise unknown("micro model", name, NAMES)
    place = locate(name, "a model")
    if isinstance(place, Path) or place.revision is None:
        return name
    return str(download(place, None if weights else ["*.json", "*.txt", "*.model"]))
