"""Where the shipped micro models lie."""

from __future__ import annotations

from pathlib import Path

from ..core.registry import unknown

_WEIGHTS = Path(__file__).parent / "weights"
NAMES = {"microworld/clip": _WEIGHTS / "clip", "microworld/llm": _WEIGHTS / "llm"}


def resolve(name: str) -> str:
    """The folder behind `microworld/clip` or `microworld/llm`; any other name as it is.

    Raises UsageError for an unknown `microworld/...` name.
    """
    if name in NAMES:
        return str(NAMES[name])
    if name.startswith("microworld/"):
        raise unknown("micro model", name, NAMES)
    return name
