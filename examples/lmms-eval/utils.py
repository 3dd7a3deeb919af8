"""What the tasks in this folder need of a question: its video, its right answer, and whether an answer is that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def video(doc: dict[str, Any]) -> list[str]:
    """The path of its video, in a list as lmms-eval wants it."""
    return [str(HERE / doc["video"])]


def right(doc: dict[str, Any]) -> str:
    """The right option's words."""
    return str(doc["options"][doc["answer"]])


def score(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """1 for the same words, whatever their case and the full stop behind them."""
    said, wanted = (text.strip().rstrip(".").lower() for text in (results[0], right(doc)))
    return {"same_words": float(said == wanted)}
