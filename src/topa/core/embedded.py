"""The micro models that ship with the package, and where a model name is loaded from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .artifacts import sha256
from .hub import download, locate
from .registry import unknown

_WEIGHTS = Path(__file__).parents[1] / "microworld" / "weights"
PAPER_ENCODER = "openai/clip-vit-large-patch14"
"""The encoder of the paper and of all released features; the default of verbs that encode."""
NAMES = {"microworld/clip": _WEIGHTS / "clip", "microworld/llm": _WEIGHTS / "llm"}


def fingerprint() -> str:
    """Return eight hex digits that identify the weights of the micro models."""
    digest = hashlib.sha256()
    for folder in NAMES.values():
        digest.update(bytes.fromhex(sha256(folder / "model.safetensors")))
    return digest.hexdigest()[:8]


def resolve(name: str, *, weights: bool = True) -> str:
    """Return what `from_pretrained` loads a model from.

    `microworld/clip` and `microworld/llm` give the folder in the package, `org/name@revision` the folder of the
    downloaded revision, any other name itself. weights: False to download only the configuration.
    Raises UsageError for an unknown `microworld/...` name, and the errors of `core.hub`.
    """
    if name in NAMES:
        return str(NAMES[name])
    if name.startswith("microworld/"):
        raise unknown("micro model", name, NAMES)
    place = locate(name, "a model")
    if isinstance(place, Path) or place.revision is None:
        return name
    return str(download(place, None if weights else ["*.json", "*.txt", "*.model"]))
