"""Continuous batching: texts of unlike length are generated together, each joins when it comes and leaves when it ends.

Reads prompts and what the LLM is shown, gives a token per text and step. A text doesn't depend on those beside it, but
for the last bits of a float.
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
from .heads import Heads, Known, distinct
from .scoring import read_together, stack, tidy

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. temperature: 0 takes the likeliest. top_p: of the likeliest tokens that have so
    much probability together. seed: of a text; None draws another one each time."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text to generate. values: float32 [T, D]; valid: bool [T]. top: how many alternatives of a token are told with
    their log-probabilities; None tells none, of the token itself neither. video: what stands for
    the video, by identity, so that what was read of it before is known."""

    prompt: Prompt
    values: Tensor
    valid: Tensor
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    top: int | None = None
    video: object = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """A token that was chosen. logprob: nats, of the model as it is, whatever the temperature; top: ids and
    log-probabilities of the likeliest; both only where they are wanted."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Text:
    """A text that is being generated. finish: why it ended, None while it goes on."""

    def __init__(self, wanted: Wanted, ends: frozenset[int]) -> None:
        self.wanted = wanted
        self.spoken: list[Spoken] = []
        self.finish: Finish | None = None
        self._ends = ends
        self._draw: torch.Generator | None = None
        if wanted.sampling.temperature > 0:
            self._draw = torch.Generator()
            if wanted.sampling.seed is None:
                self._draw.seed()
            else:
                self._draw.manual_seed(wanted.sampling.seed)

    def take(self, logits: Tensor, likeliest: int) -> int:
        """Choose the next token. logits: float [V]. Gives its id."""
        token = likeliest if self._draw is None else self._sample(logits)
        if token in self._ends:
            self.finish = "stop"
            return token
        spoken = Spoken(token)
        if self.wanted.top is not None:
            logs = logits.float().log_softmax(dim=-1)
            best = logs.topk(min(self.wanted.top, len(logs)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            spoken = Spoken(token, float(logs[token]), tuple(pairs))
        self.spoken.append(spoken)
        if len(self.spoken) >= self.wanted.max_tokens:
            self.finish = "length"
        return token

    def _sample(self, logits: Tensor) -> int:
        # On the CPU: a seed draws the same wherever the model is.
        sampling = self.wanted.sampling
        weights = (logits.float().cpu() / sampling.temperature).softmax(dim=-1)
        if sampling.top_p < 1:
            ordered, order = weights.sort(descending=True)
            ordered[(ordered.cumsum(dim=-1) - ordered) >= sampling.top_p] = 0  # the likeliest always stays
            weights = torch.zeros_like(weights).scatter(0, order, ordered)
        return int(torch.multinomial(weights, 1, generator=self._draw))


class Continuous:
    """Texts that are being generated together. heads: what was read before."""

    def __init__(self, model: VideoLanguageModel, tokenizer: Any, heads: Heads | None = None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._heads = heads
        eos = tokenizer.eos_token_id
        self._ends = frozenset(() if eos is None else (eos,))
        self._context: KVCache | None = None
        self.texts: list[Text] = []
        """Those that haven't ended, in the order in which they came."""

    def __len__(self) -> int:
        return len(self.texts)

    @torch.no_grad()
    def add(self, wanted: Sequence[Wanted]) -> list[Text]:
        """Read the prompts of more texts, in one pass; their first tokens come with the next step."""
        shown = distinct([own if own.video is None else own.video for own in wanted])
        values, valid = stack([(wanted[n].values, wanted[n].valid) for n in shown.firsts])
        known = None if self._heads is None else Known(self._heads, shown.objects)
        read = read_together(self._model, [own.prompt for own in wanted], values, valid, shown.of, known)
        self._context = read if self._context is None else KVCache.join([self._context, read])
        new = [Text(own, self._ends) for own in wanted]
        self.texts += new
        return new

    @torch.no_grad()
    def step(self) -> list[Text]:
        """One more token of every text; gives those that ended by it, which have left the batch."""
        if self._context is None:
            return []
        logits = self._context.next_logits
        likeliest = logits.argmax(dim=-1).tolist()
        tokens = [text.take(logits[row], likeliest[row]) for row, text in enumerate(self.texts)]
        ended = [text for text in self.texts if text.finish is not None]
        going = [token for token, text in zip(tokens, self.texts, strict=True) if text.finish is None]
        self.drop(ended)
        if self._context is not None:
            new = torch.tensor(going, device=self._model.device)[:, None]
            self._context = self._model.prefill(ModelInputs(new), self._context)
        return ended

    def drop(self, texts: Sequence[Text]) -> None:
        """Leave these texts as they are, and go on without them."""
        if not texts or self._context is None:
            return
        rows = [row for row, text in enumerate(self.texts) if text not in texts]
        self.texts = [self.texts[row] for row in rows]
        self._context = KVCache.join([self._context.take(rows)]) if rows else None

    def words(self, text: Text) -> str:
        """What a text says so far."""
        return tidy(self._tokenizer.decode([spoken.token for spoken in text.spoken], skip_special_tokens=True))
