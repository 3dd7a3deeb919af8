"""Replies as a good writer gives them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from topa.tideos.tideo import Tideo

KINDS = ("descriptive", "temporal", "causal")


WORDS = tuple(a + b for a in ("bo", "de", "fi", "go", "ku", "la", "me", "ni", "so", "tu") for b in "lnrsk")


def good_reply(about: str = "kite", kinds: Sequence[str] = KINDS, options: int = 5) -> dict[str, Any]:
    """A reply of five frames and a question of each kind, in words of its own for each subject."""
    draws = random.Random(about)

    def words(count: int) -> str:
        return " ".join(draws.choices(WORDS, k=count))

    return {
        "frames": [{"caption": f"{about}, {words(12)}", "objects": [words(3), "a stone"]} for _ in range(5)],
        "description": f"All about {about}: {words(20)}.",
        "questions": [
            {
                "kind": kind,
                "question": f"{kind}?",
                "options": [f"option {n} {m}" for m in range(options)],
                "answer": n,
                "open_answer": f"so it is {n}",
            }
            for n, kind in enumerate(kinds)
        ],
    }


def from_row(row: dict[str, Any]) -> Tideo:
    """The Tideo of a row of Parquet."""
    return Tideo.model_validate({**row, "source": json.loads(row["source"])})
