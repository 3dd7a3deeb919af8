"""Text generation by continuous batching: texts of unlike length are generated together, and each joins and leaves
when it begins and ends.

The only loop that generates text in `inference`. A text doesn't depend on those beside it, but for the last bits of a
float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..models.inputs import ModelInputs
from ..models.kv_cache import KVCache
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt
from .prefix_cache import CachedVideos, PrefixCache, UniqueObjects
from .request import Sampling
from .scorer import read_together, stack

FinishReason = Literal["stop", "length"]
_TOKENS = 1 << 13  # that are held at a time where many texts are generated


@dataclass(frozen=True, slots=True)
class GenerationTask:
    """A text to generate. values: float32 [T, D]; valid: bool [T], what the model gets of the video. top_logprobs,
    stop: see `GenerationSettings`. video: stands for the video, by identity: tasks about one share a reading of it."""

    prompt: Prompt
    values: Tensor
    valid: Tensor
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    top_logprobs: int | None = None
    stop: tuple[str, ...] = ()
    video: object = None


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A token that was chosen. logprob: nats, of the model as it is, whatever the temperature. top: ids and
    log-probabilities of the likeliest, best first. Both only where the task has `top_logprobs`."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What a text has come to. text: all of it so far. tokens: all of them, the end of sequence excluded. finish: None
    while it goes on."""

    text: str
    tokens: tuple[SampledToken, ...]
    finish: FinishReason | None


class GeneratedSequence:
    """A text that is being generated. finish: why it ended, None while it goes on."""

    def __init__(self, task: GenerationTask, ends: frozenset[int]) -> None:
        self.task = task
        self.tokens: list[SampledToken] = []
        self.finish: FinishReason | None = None
        self._ends = ends
        self._draw: torch.Generator | None = None
        if task.sampling.temperature > 0:
            self._draw = torch.Generator()
            if task.sampling.seed is None:
                self._draw.seed()
            else:
                self._draw.manual_seed(task.sampling.seed)

    def append(self, logits: Tensor, likeliest: int) -> int:
        """Choose the next token and return its id. logits: float [V]."""
        token = likeliest if self._draw is None else self._sample(logits)
        if token in self._ends:
            self.finish = "stop"
            return token
        sampled = SampledToken(token)
        if self.task.top_logprobs is not None:
            logs = logits.float().log_softmax(dim=-1)
            best = logs.topk(min(self.task.top_logprobs, len(logs)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            sampled = SampledToken(token, float(logs[token]), tuple(pairs))
        self.tokens.append(sampled)
        if len(self.tokens) >= self.task.max_tokens:
            self.finish = "length"
        return token

    def _sample(self, logits: Tensor) -> int:
        # On the CPU: a seed draws the same wherever the model is.
        sampling = self.task.sampling
        weights = (logits.float().cpu() / sampling.temperature).softmax(dim=-1)
        if sampling.top_p < 1:
            ordered, order = weights.sort(descending=True)
            ordered[1:][(ordered.cumsum(dim=-1) - ordered)[1:] >= sampling.top_p] = 0  # the likeliest always stays
            weights = torch.zeros_like(weights).scatter(0, order, ordered)
        return int(torch.multinomial(weights, 1, generator=self._draw))


class ContinuousBatcher:
    """Sequences that are being generated together. prefix_cache: what was read before."""

    def __init__(self, model: VideoLanguageModel, tokenizer: Any, prefix_cache: PrefixCache | None = None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._prefix_cache = prefix_cache
        eos = tokenizer.eos_token_id
        self._ends = frozenset(() if eos is None else (eos,))
        self._context: KVCache | None = None
        self.sequences: list[GeneratedSequence] = []
        """Those that haven't ended, in the order in which they were added."""

    def __len__(self) -> int:
        return len(self.sequences)

    @torch.no_grad()
    def add(self, tasks: Sequence[GenerationTask]) -> list[GeneratedSequence]:
        """Read the prompts of more texts, in one pass; their first tokens come with the next step."""
        unique = UniqueObjects.of([task if task.video is None else task.video for task in tasks])
        values, valid = stack([(tasks[n].values, tasks[n].valid) for n in unique.first])
        cached = None if self._prefix_cache is None else CachedVideos(self._prefix_cache, unique.objects)
        read = read_together(self._model, [task.prompt for task in tasks], values, valid, unique.index, cached)
        self._context = read if self._context is None else KVCache.join([self._context, read])
        new = [GeneratedSequence(task, self._ends) for task in tasks]
        self.sequences += new
        return new

    @torch.no_grad()
    def step(self) -> list[GeneratedSequence]:
        """Generate one more token of every sequence. Return those that ended by it, which have left the batch."""
        if self._context is None:
            return []
        logits = self._context.next_logits
        likeliest = logits.argmax(dim=-1).tolist()
        tokens = [one.append(logits[row], likeliest[row]) for row, one in enumerate(self.sequences)]
        ended = [one for one in self.sequences if one.finish is not None]
        going = [token for token, one in zip(tokens, self.sequences, strict=True) if one.finish is None]
        self.drop(ended)
        if self._context is not None:
            new = torch.tensor(going, device=self._model.device)[:, None]
            self._context = self._model.prefill(ModelInputs(new), self._context)
        return ended

    def drop(self, sequences: Sequence[GeneratedSequence]) -> None:
        """Leave these sequences as they are, and go on without them."""
        if not sequences or self._context is None:
            return
        rows = [row for row, one in enumerate(self.sequences) if one not in sequences]
        self.sequences = [self.sequences[row] for row in rows]
        self._context = KVCache.join([self._context.take(rows)]) if rows else None

    def completion(self, sequence: GeneratedSequence) -> Completion:
        """Return what a sequence has come to."""
        ids = [sampled.token for sampled in sequence.tokens]
        text = decode(self._tokenizer, ids, sequence.task.stop)
        return Completion(text, tuple(sequence.tokens), sequence.finish)


def complete(
    model: VideoLanguageModel,
    tokenizer: Any,
    tasks: Sequence[GenerationTask],
    prefix_cache: PrefixCache | None = None,
) -> list[Completion]:
    """Generate texts to their ends, as many at a time as memory allows. Order and company change nothing."""
    completions: list[Completion] = []
    remaining = list(tasks)
    while remaining:
        longest = max(len(task.prompt) + task.max_tokens for task in remaining)
        together = max(1, _TOKENS // longest)
        batch = ContinuousBatcher(model, tokenizer, prefix_cache)
        sequences = batch.add(remaining[:together])
        del remaining[:together]
        while len(batch):
            batch.step()
        completions += map(batch.completion, sequences)
    return completions


def generate(
    model: VideoLanguageModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    frames: Tensor,
    valid: Tensor,
    max_tokens: int,
    videos: Sequence[int] | None = None,
) -> list[str]:
    """Return the greedy continuation of each prompt as text.

    frames: [V, T, D]; valid: bool [V, T]; videos: which of them each prompt is about, prompt i about video i by
    default. Prompts that begin alike on the same video go on from one reading of it.
    """
    about = range(len(prompts)) if videos is None else videos
    owners = [object() for _ in range(len(frames))]
    tasks = [
        GenerationTask(prompt, frames[video], valid[video], max_tokens, video=owners[video])
        for prompt, video in zip(prompts, about, strict=True)
    ]
    return [completion.text for completion in complete(model, tokenizer, tasks)]


def decode(tokenizer: Any, ids: Sequence[int], stop: Sequence[str] = ()) -> str:
    """Return token ids as clean text, special tokens left out, up to the first of the stop texts that is in it."""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=True))
    end = min((at for one in stop if (at := text.find(one)) >= 0), default=len(text))
    return clean_completion(text[:end])


def clean_completion(text: str) -> str:
    """Return generated text without the blanks that word-level tokenizers leave before punctuation."""
    text = " ".join(text.split())
    for mark in ",.?!:;":
        text = text.replace(f" {mark}", mark)
    return text
