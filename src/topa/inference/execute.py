"""What the model makes of prepared requests: scores of options and texts, in few passes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from ..features.encoder import Encoder
from ..models.topa_model import VideoLanguageModel
from .combine import ChoiceResult, choice_of
from .generator import Completion, complete
from .prefix_cache import CachedVideos, PrefixCache, UniqueObjects
from .prepared import PreparedRequest
from .scorer import score_rows, stack

_TEMPERATURE = 0.01  # of the softmax over cosines of `similarity`, CLIP's own


def execute(
    model: VideoLanguageModel,
    tokenizer: Any,
    encoder: Encoder,
    units: Sequence[PreparedRequest],
    prefix_cache: PrefixCache | None = None,
) -> list[ChoiceResult | Completion]:
    """Return a result for each request without parts, in their order. encoder: compares texts, for `similarity`."""
    results: dict[int, ChoiceResult | Completion] = {}
    for protocol in ("selection", "logits"):
        numbers = [n for n, unit in enumerate(units) if not unit.is_generated and unit.protocol == protocol]
        results |= zip(numbers, _score(model, [units[n] for n in numbers], prefix_cache), strict=True)
    numbers = [n for n, unit in enumerate(units) if unit.is_generated]
    tasks = [units[n].task() for n in numbers]
    results |= zip(numbers, complete(model, tokenizer, tasks, prefix_cache), strict=True)
    chosen = [n for n in numbers if units[n].request.options]
    texts, options = [results[n].text for n in chosen], [units[n].request.options for n in chosen]
    results |= zip(chosen, _nearest(encoder, texts, options), strict=True)
    return [results[number] for number in range(len(units))]


def _score(
    model: VideoLanguageModel, units: Sequence[PreparedRequest], prefix_cache: PrefixCache | None
) -> list[ChoiceResult]:
    """Choices by likelihood, of requests of one protocol."""
    if not units:
        return []
    unique = UniqueObjects.of([unit.inputs for unit in units])
    values, valid = stack([(units[n].inputs.values, units[n].inputs.valid) for n in unique.first])
    scores = iter(
        score_rows(
            model,
            [row for unit in units for row in unit.orders],
            values,
            valid,
            [video for unit, video in zip(units, unique.index, strict=True) for _ in unit.orders],
            by_letter=units[0].protocol == "selection",
            cached=None if prefix_cache is None else CachedVideos(prefix_cache, unique.objects),
        )
    )
    return [choice_of(unit.request.options, list(islice(scores, len(unit.orders)))) for unit in units]


def _nearest(encoder: Encoder, texts: Sequence[str], options: Sequence[tuple[str, ...]]) -> list[ChoiceResult]:
    """For each generated text, the option nearest to it in the encoder's text space."""
    if not texts:
        return []
    groups = [(text, *own) for text, own in zip(texts, options, strict=True)]
    rows = encoder.encode_texts([text for group in groups for text in group])
    choices = []
    for text, part in zip(texts, torch.split(rows, [len(group) for group in groups]), strict=True):
        cosines = part[1:] @ part[0]
        probabilities = torch.softmax(cosines / _TEMPERATURE, dim=0)
        choices.append(ChoiceResult(tuple((1 - cosines).tolist()), tuple(probabilities.tolist()), text))
    return choices
