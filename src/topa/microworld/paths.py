"""Where the shipped micro models lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.artifacts import sha256
from ..core.registry import unknown

_WEIGHTS = Path(__file__).parent / "weights"
NAMES = {"microworld/clip": _WEIGHTS / "clip", "microworld/llm": _WEIGHTS / "llm"}


def fingerprint() -> str:
    """Eight hex digits that change when the weights of a micro model do."""
    digest = hashlib.sha256()
    for folder in NAMES.values():
        digest.update(bytes.fromhex(sha256(folder / "model.safetensors")))
    return digest.hexdigest()[:8]


def resolve(name: str) -> str:
    """The folder behind `microworld/clip` or `microworld/llm`; any other name as it is.

    Raises UsageError for an unknown `microworld/...` name.
    """
    if name in NAMES:
        return str(NAMES[name])
    if name.startswith("microworld/"):
        raise unknown("micro model", name, NAMES)
    return name
