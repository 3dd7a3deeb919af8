"""What the tests of the writer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from topa.tideos.writer_prompt import reply_schema


def _short(node: Any) -> Any:
    """Texts of 3 to 12 letters: a random model would go on for long, or write nothing but a space."""
    if isinstance(node, list):
        return [_short(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "string" and "enum" not in node:
        return {"type": "string", "pattern": "^[a-z]{3,12}$"}
    return {key: _short(value) for key, value in node.items()}


@pytest.fixture
def real_schema() -> Callable[[], dict[str, Any]]:
    """The real schema, with short texts."""
    return lambda: _short(reply_schema())
