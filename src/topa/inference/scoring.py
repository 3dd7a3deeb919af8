"""Scoring options: which answer does the aligned LLM find likeliest.

Reads prompts and frame features, writes one score per option. The prompt is read once, and each option goes on from
it: exact, and a fraction of the work of one full pass per option.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..core.errors import InputError
from ..core.registry import unknown
from ..models.topa_model import Context, VideoLanguageModel
from ..prompts.prompt import Prompt, Prompter
from ..tideos.tideo import Question

Protocol = Literal["selection", "logits"]
_BATCH = 128


@dataclass(frozen=True, slots=True)
class Scores:
    """mean_nll: nats per target token and option, the lowest wins; probabilities: softmax over the options' total
    log-likelihood (`selection`, where all targets are equally long) or minus mean_nll (`logits`)."""

    mean_nll: tuple[float, ...]
    probabilities: tuple[float, ...]

    @property
    def choice(self) -> int:
        """The index of the chosen option."""
        return min(range(len(self.mean_nll)), key=self.mean_nll.__getitem__)


def read(model: VideoLanguageModel, prompts: Sequence[Prompt], frames: Tensor, valid: Tensor) -> Context:
    """Let the model read prompts without targets. frames: [B, T, D]; valid: bool [B, T]."""
    device = next(model.trainable_parameters()).device
    ids = nn.utils.rnn.pad_sequence([torch.tensor(p.ids) for p in prompts], batch_first=True)
    column = torch.arange(ids.shape[1])
    visible = column < torch.tensor([len(p) for p in prompts])[:, None]
    slots = torch.tensor([p.slots for p in prompts])
    is_slot = (column >= slots[:, :1]) & (column < slots[:, 1:])
    return model.prefill(
        ids.to(device),
        frames=frames.to(device),
        frame_valid=valid.to(device),
        is_slot=is_slot.to(device),
        attention_mask=visible.to(device),
    )


def score_options(
    model: VideoLanguageModel,
    prompter: Prompter,
    questions: Sequence[Question],
    frames: Tensor,
    valid: Tensor,
    *,
    protocol: Protocol = "selection",
    progress: Callable[[int], None] = lambda _: None,
) -> list[Scores]:
    """Scores of every option of every question; question i is about frames[i].

    questions: N, each with two or more options. frames: float32 [N, T, D] unit rows in text space (or zeros, for a
    blind run); valid: bool [N, T]. `selection`: the letter's likelihood behind the listed options; `logits`: the
    option text's likelihood as a free answer. Source: TOPA, section 4 (LLM selection, LLM logits).
    Every question gets an answer: nothing is dropped, order and batches change nothing.
    Raises InputError for a question without options, UsageError for an unknown protocol.
    """
    if protocol not in get_args(Protocol):
        raise unknown("protocol", protocol, get_args(Protocol))
    if bare := next((q for q in questions if not q.options), None):
        raise InputError(f"question {bare.question!r}: found no options; expected two or more to score.")
    prompts, targets = [], []
    for i, question in enumerate(questions):
        shown = int(valid[i].sum())
        if protocol == "selection":
            prompts.append(prompter.choose(question.question, question.options, shown))
            targets.append([prompter.target_ids(prompter.letter(j)) for j in range(len(question.options))])
        else:
            prompts.append(prompter.answer(question.question, shown))
            targets.append([prompter.target_ids(" " + option) for option in question.options])
    scores: list[Scores | None] = [None] * len(questions)
    order = sorted(range(len(questions)), key=lambda i: (len(targets[i]), len(prompts[i])))
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        context = read(model, [prompts[i] for i in chosen], frames[chosen], valid[chosen])
        options, length = max(len(targets[i]) for i in chosen), max(len(t) for i in chosen for t in targets[i])
        ids = torch.zeros(len(chosen), options, length, dtype=torch.int64)
        mask = torch.zeros(len(chosen), options, length, dtype=torch.bool)
        for row, i in enumerate(chosen):
            for column, target in enumerate(targets[i]):
                ids[row, column, : len(target)] = torch.tensor(target)
                mask[row, column, : len(target)] = True
        mask[:, :, 0] = True  # rows with fewer options are padded with options that nobody reads
        device = context.visible.device
        total = model.suffix_nll(context, ids.to(device), mask.to(device)).sum(-1).cpu()
        for row, i in enumerate(chosen):
            sums = total[row, : len(targets[i])]
            means = sums / torch.tensor([len(t) for t in targets[i]])
            probabilities = torch.softmax(-(sums if protocol == "selection" else means), dim=-1)
            scores[i] = Scores(tuple(means.tolist()), tuple(probabilities.tolist()))
        progress(len(chosen))
    return [s for s in scores if s is not None]


def generate(
    model: VideoLanguageModel,
    prompter: Prompter,
    prompts: Sequence[Prompt],
    frames: Tensor,
    valid: Tensor,
    max_tokens: int,
) -> list[str]:
    """The greedy continuation of each prompt as text, with a KV cache; stops at the end of sequence."""
    context = read(model, prompts, frames, valid)
    eos = prompter.tokenizer.eos_token_id
    rows = model.greedy(context, max_tokens, eos=() if eos is None else eos)
    return [tidy(prompter.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]


def tidy(text: str) -> str:
    """Generated text without the blanks that word-level tokenizers leave before punctuation."""
    text = " ".join(text.split())
    for mark in ",.?!:;":
        text = text.replace(f" {mark}", mark)
    return text
