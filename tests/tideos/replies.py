"""Replies as a good writer gives them."""

from __future__ import annotations

from typing import Any

KINDS = ("descriptive", "temporal", "causal")


def good_reply(about: str = "kite") -> dict[str, Any]:
    """A reply of five frames and three questions."""
    return {
        "frames": [{"caption": f"{about}, moment {n}", "objects": [f"thing {n}", "a stone"]} for n in range(5)],
        "description": f"All about {about}.",
        "questions": [
            {
                "kind": kind,
                "question": f"{kind}?",
                "options": [f"option {n} {m}" for m in range(5)],
                "answer": n,
                "open_answer": f"so it is {n}",
            }
            for n, kind in enumerate(KINDS)
        ],
    }
