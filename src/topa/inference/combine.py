"""Answers from what the model found: scores of options, texts, or those of several segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .answer import Answer, AnswerPart
from .generator import Completion
from .prepared import PreparedRequest
from .scorer import OptionScores
from .video_inputs import SegmentedInputs

_SHARPNESS = 10.0  # how fast a segment counts less with its similarity
_LEAST = 1e-30  # of a probability, so that its logarithm is a number


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """scores: one per option, the lowest wins (see `Answer`). probabilities: one per option. text: the chosen option,
    or what was generated (`similarity`). cut: tokens of the listed options that the model's window had no room for."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    text: str
    cut: int = 0

    @property
    def choice(self) -> int:
        """Index of the chosen option; the first of equals."""
        return min(range(len(self.scores)), key=self.scores.__getitem__)


def choice_of(options: Sequence[str], orders: Sequence[OptionScores]) -> ChoiceResult:
    """Return the choice by the scores of one order of the options, or of every cyclic order in turn."""
    if len(orders) == 1:
        (only,) = orders
        return ChoiceResult(only.mean_nll, only.probabilities, options[only.choice], only.cut)
    number = len(options)
    means = tuple(
        sum(turned.probabilities[(option - turn) % number] for turn, turned in enumerate(orders)) / number
        for option in range(number)
    )
    costs = tuple(-math.log(max(mean, _LEAST)) for mean in means)
    return ChoiceResult(costs, means, options[min(range(number), key=costs.__getitem__)], orders[0].cut)


def answer_of(prepared: PreparedRequest, results: Sequence[ChoiceResult | Completion]) -> Answer:
    """Return the answer to a request. results: one per unit of it (`PreparedRequest.units`)."""
    if prepared.parts:
        return _over_segments(prepared, results)
    (result,) = results
    inputs, options = prepared.inputs, prepared.request.options
    answer = Answer(
        result.text,
        evidence=inputs.readings,
        warnings=prepared.warnings,
        frame_selection=inputs.frame_selection,
        times=inputs.times,
    )
    if isinstance(result, Completion):
        return answer
    return replace(
        answer,
        choice=result.choice,
        options=options,
        probabilities=result.probabilities,
        scores=result.scores,
        warnings=prepared.warnings + _cut(result.cut),
    )


def _over_segments(prepared: PreparedRequest, results: Sequence[ChoiceResult | Completion]) -> Answer:
    """One answer from several segments.

    Each segment's weight is the softmax of ten times its similarity. A choice is as probable as the weighted mean of
    what the segments say (`scores`: minus its logarithm); of free answers the one with the most weight behind it wins.
    """
    inputs = prepared.request.inputs
    assert isinstance(inputs, SegmentedInputs)
    segments, warnings = inputs.segments, tuple(dict.fromkeys(w for part in prepared.parts for w in part.warnings))
    weights = torch.softmax(_SHARPNESS * torch.tensor([one.similarity for one in segments]), dim=0)
    texts = [result.text for result in results]
    choices = [result for result in results if isinstance(result, ChoiceResult)]
    if choices:
        options = prepared.request.options
        each = weights[:, None] * torch.tensor([result.probabilities for result in choices])
        mixed = each.sum(dim=0)
        choice = int(mixed.argmax())
        shares = each[:, choice] / mixed[choice]
        probabilities, scores = tuple(mixed.tolist()), tuple((-mixed.log()).tolist())
        warnings += _cut(max(result.cut for result in choices))
        answer = Answer(options[choice], choice, options, probabilities, scores, warnings=warnings)
        texts = [options[result.choice] for result in choices]
    else:
        support: dict[str, float] = {}
        for text, weight in zip(texts, weights.tolist(), strict=True):
            support[text] = support.get(text, 0.0) + weight
        best = max(support, key=support.__getitem__)
        shares = weights * torch.tensor([text == best for text in texts]) / support[best]
        answer = Answer(best, warnings=warnings)
    order = shares.argsort(descending=True, stable=True).tolist()
    parts = tuple(
        AnswerPart(segments[n].start, segments[n].end, float(shares[n]), texts[n], segments[n].video) for n in order
    )
    first = segments[order[0]].inputs
    return replace(
        answer, evidence=first.readings, times=first.times, parts=parts, frame_selection=inputs.frame_selection
    )


def _cut(tokens: int) -> tuple[str, ...]:
    if not tokens:
        return ()
    return (f"{tokens} tokens of the options were left out: the language model can't read as many",)
