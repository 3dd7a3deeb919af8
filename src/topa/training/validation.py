"""What a model in training knows about held-out samples, asked the way users will ask it.

Reads an `AlignmentSet`, gives `HeldOut` to the loop, which keeps the best adapter by it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..core.rouge import rouge_l
from ..inference.generator import generate
from ..inference.scorer import score_options
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter
from .config import TrainConfig
from .data import AlignmentSet, Mix, Share, epoch_steps
from .loss import mean_nll
from .prepare import for_reading
from .reading import compute_logits

_LONGEST = 120  # tokens of a caption
_TOGETHER = 16  # captions at a time


@dataclass(frozen=True, slots=True)
class HeldOut:
    """loss: nats per target token, over the tasks as they are trained. accuracy: share of questions answered right,
    None without any. rouge_l: mean over captions, against the descriptions, None without any."""

    loss: float
    accuracy: float | None
    rouge_l: float | None
    questions: int
    captions: int

    @property
    def rank(self) -> tuple[float, float]:
        """A sort key, larger for better models: accuracy, then loss."""
        return (-1.0 if self.accuracy is None else self.accuracy, -self.loss)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@torch.no_grad()
def validate(model: VideoLanguageModel, prompter: Prompter, data: AlignmentSet, config: TrainConfig) -> HeldOut:
    """Measure the loss over all samples; accuracy on one question of each that has options, by the model's protocol,
    over all of its options; ROUGE-L of the first `validation_captions` descriptions, greedily. The same samples and
    questions at every validation of a run."""
    total, targets = 0.0, 0
    steps = epoch_steps(
        data,
        prompter,
        Mix.of(config),
        batch_size=config.batch_size,
        seed=config.seed,
        epoch=-1,
        share=Share(pass_tokens=config.pass_tokens),
    )
    for step in steps:
        for batch, weight in zip(step.micro_batches, step.weights, strict=True):
            loss = mean_nll(compute_logits(model, batch), batch.targets.to(model.device))
            total += loss.item() * weight * step.targets
        targets += step.targets
    with_description = [i for i, own in enumerate(data.labels) if own.description] if config.describe else []
    captions = with_description[: config.validation_captions]
    with for_reading(model):
        accuracy, questions = _accuracy(model, prompter, data, config)
        rouge = _rouge(model, prompter, data, captions) if captions else None
    return HeldOut(total / targets, accuracy, rouge, questions, len(captions))


def _accuracy(
    model: VideoLanguageModel, prompter: Prompter, data: AlignmentSet, config: TrainConfig
) -> tuple[float | None, int]:
    with_choices = data.with_choices()
    if not len(with_choices):
        return None, 0
    questions = [
        random.Random(f"{config.seed} held out {i}").choice([q for q in own.questions if q.answer is not None])
        for i, own in enumerate(with_choices.labels)
    ]
    scores = score_options(
        model, prompter, questions, with_choices.values, with_choices.valid, protocol=config.protocol
    )
    right = sum(s.choice == q.answer for s, q in zip(scores, questions, strict=True))
    return right / len(questions), len(questions)


def _rouge(model: VideoLanguageModel, prompter: Prompter, data: AlignmentSet, captions: Sequence[int]) -> float:
    scores = []
    for start in range(0, len(captions), _TOGETHER):
        members = captions[start : start + _TOGETHER]
        prompts = [prompter.describe(data.frame_count(i)) for i in members]
        room = _LONGEST
        if prompter.window is not None:
            room = max(1, min(room, prompter.window - max(map(len, prompts))))
        texts = generate(model, prompter.tokenizer, prompts, *data.features(members), room)
        scores += [rouge_l(text, data.labels[i].description) for text, i in zip(texts, members, strict=True)]
    return sum(scores) / len(scores)
