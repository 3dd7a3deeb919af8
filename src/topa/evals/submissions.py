"""What the benchmarks' servers take, as JSON values. They are written to files and never posted anywhere.

Every function reads all records of a split and their predictions, in one order. A record that got no answer has no
choice: option 0 stands for it, since a server refuses a file in which one is missing; the report counts it wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ..core.errors import InputError
from .example import Example
from .predictions import Prediction

_HYPHENATED = {"Fine Grained Action": "Fine-grained Action", "Fine Grained Pose": "Fine-grained Pose"}


def egoschema(examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, int]:
    """`{q_uid: 0 to 4}`, one for each of the 5,031 questions. Raises InputError where the two don't belong together."""
    return {example.id: _chosen(prediction) for example, prediction in _pairs(examples, predictions)}


def star(examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
    """`{"Interaction": [{"question_id": "Interaction_T1_13", "answer": 0 to 3}, ...], "Sequence": ...}`.

    The index is that of the choices in the order of their ids. The four types stand in the challenge's order. This is
    the form that published code writes for the challenge; the server's own description was not at hand.
    Raises InputError where the two don't belong together.
    """
    told: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("Interaction", "Sequence", "Prediction", "Feasibility")
    }
    for example, prediction in _pairs(examples, predictions):
        told.setdefault(example.kind, []).append({"question_id": example.id, "answer": _chosen(prediction)})
    return told


def perception(examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
    """`{video_id: [{"id": 0, "answer_id": 0 to 2, "answer": text}, ...]}`.

    Raises InputError where the two don't belong together.
    """
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for example, prediction in _pairs(examples, predictions):
        chosen, number = _chosen(prediction), example.id.removeprefix(f"{example.video}_")
        answer = example.options[chosen] if chosen < len(example.options) else ""
        told[example.video].append(
            {"id": int(number) if number.isdecimal() else number, "answer_id": chosen, "answer": answer}
        )
    return dict(told)


def mvbench(examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """`{"Action Sequence": per cent right, ..., "Avg": per cent of all questions}`, as the leaderboard names them.

    Raises InputError where the two don't belong together.
    """
    right: dict[str, list[float]] = defaultdict(list)
    for example, prediction in _pairs(examples, predictions):
        name = example.kind.replace("_", " ").title()
        right[_HYPHENATED.get(name, name)].append(prediction.correct or 0.0)
    every = [value for values in right.values() for value in values]
    told = {name: 100 * sum(values) / len(values) for name, values in right.items()}
    return {**told, "Avg": 100 * sum(every) / len(every)} if every else {}


def _pairs(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Iterator[tuple[Example, Prediction]]:
    if len(examples) != len(predictions):
        raise InputError(
            f"{len(predictions)} predictions for {len(examples)} records; expected one for each. Run the evaluation "
            "to its end: the same command goes on where it stopped."
        )
    for example, prediction in zip(examples, predictions, strict=True):
        if example.id != prediction.id:
            raise InputError(
                f"the prediction {prediction.id!r} stands where the record {example.id!r} is; expected one order. "
                "Evaluate again with the same files."
            )
        yield example, prediction


def _chosen(prediction: Prediction) -> int:
    return 0 if prediction.choice is None else prediction.choice
