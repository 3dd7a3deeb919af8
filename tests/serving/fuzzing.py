"""What schemathesis loads: a right request often names a video that is there, and asks about it.

Ids made up by a fuzzer lead nowhere, and so would all of its requests; wrong ones stay as they are.
"""

from __future__ import annotations

import os
import random
from typing import Any

import schemathesis

IDS = os.environ["FUZZED_IDS"].split(",")


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    if not case.meta.generation.mode.is_positive:
        return case
    draw = random.Random(repr((case.path_parameters, case.body)))  # of the case, so that it can be made again
    if draw.random() < 0.2:
        return case
    video = draw.choice(IDS)
    if case.path_parameters and case.method != "DELETE":
        case.path_parameters["id"] = "topa" if "models" in case.path else video
    body = case.body
    if isinstance(body, dict) and "model" in body:
        body["model"] = "topa"
        parts: list[Any] = [{"type": "video_url", "video_url": {"url": video}}]
        if body.get("structured_outputs") or draw.random() < 0.5:
            parts.append({"type": "text", "text": "what is the color ?"})
        body["messages"] = [*body["messages"], {"role": "user", "content": parts}][-256:]
        body.pop("top_logprobs", None) if not body.get("logprobs") else None
    elif isinstance(body, dict) and isinstance(body.get("video"), str):
        body["video"] = draw.choice([one for one in IDS if "search" not in case.path or one.startswith("lib_")])
    return case
