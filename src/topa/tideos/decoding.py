"""Constrained decoding: a causal language model writes batches of replies that obey a JSON schema."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core.devices import default_device
from ..core.errors import InputError, UsageError
from ..core.hub import Repository, download, locate
from .writers import Message, Permanent

DTYPES = ("auto", "float32", "bfloat16", "float16")
_JSON_CHARACTERS = '{}[]":, ' + string.digits


@dataclass
class PartialReply:
    """One sequence of a batch.

    prompt: token ids. limit: maximum number of new tokens. draws: random numbers for sampling. matcher: state of the
    grammar. is_awaited: whether the caller still waits for the reply. ids: new tokens so far, without end of text.
    finish_reason: None until the reply is complete ("stop"), at its limit ("length"), or abandoned ("dropped"), either
    because nobody waits for it or because of a `problem`.
    """

    prompt: list[int]
    limit: int
    draws: random.Random
    matcher: Any
    is_awaited: Callable[[], bool]
    ids: list[int] = field(default_factory=list)
    finish_reason: Literal["stop", "length", "dropped"] | None = None
    problem: str = ""

    def take(self, token: int, eos: Sequence[int]) -> None:
        """Append a sampled token, and finish the reply if it ends there."""
        if self.problem:
            return
        if not self.is_awaited():
            self.finish_reason = "dropped"
        elif not self.matcher.consume_token(token):
            self.fail(str(self.matcher.get_error()))
        elif token in eos:
            self.finish_reason = "stop"
        else:
            self.ids.append(token)
            if self.matcher.is_stopped():
                self.finish_reason = "stop"
            elif len(self.ids) >= self.limit:
                self.finish_reason = "length"

    def fail(self, problem: str) -> None:
        """Abandon the reply because of a problem."""
        self.finish_reason, self.problem = "dropped", problem


class Decoder:
    """A model, its tokenizer and a schema. Blocking and not thread-safe.

    model, tokenizer: as loaded by transformers. temperature: 0 for greedy decoding, None for the model's own
    generation_config. seed: determines the samples of each prompt. Raises UsageError if the tokenizer can't express
    the schema.
    """

    def __init__(
        self, name: str, model: Any, tokenizer: Any, *, schema: Mapping[str, Any], temperature: float | None, seed: int
    ) -> None:
        import llguidance
        from llguidance.hf import from_tokenizer
        from transformers import GenerationConfig

        self.name = name
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._seed = seed
        own = model.generation_config
        config = model.config.get_text_config()
        self._window: int | None = getattr(config, "max_position_embeddings", None)
        self._width: int = config.vocab_size
        self._eos = _eos(name, own.eos_token_id, tokenizer.eos_token_id)
        try:
            self._tokens = from_tokenizer(tokenizer, n_vocab=self._width, eos_token=self._eos)
        except ValueError as error:
            raise self._cant_hold(str(error).splitlines()[0]) from error
        # With single-byte tokens everything in the schema can be spelt, so that no reply reaches a dead end.
        missing = set("".join([_JSON_CHARACTERS, *_words(schema)]).encode()) - set(self._single_bytes())
        if missing:
            raise self._cant_hold(f"it has no token for the single byte {bytes([min(missing)])!r}")
        # Fix the whitespace to the most common style: if any is allowed, weak models write nothing but blanks until
        # the limit.
        blanks: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        self._grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=blanks)
        problem = self._matcher().get_error()
        if problem:
            raise self._cant_hold(problem)
        self._warpers = _warpers(own, temperature)
        # Other settings of a model's generation_config (beams, stop strings, forced or forbidden tokens) would conflict
        # with the schema.
        model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=self._eos,
            pad_token_id=self._eos[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            repetition_penalty=own.repetition_penalty,
        )

    @classmethod
    def load(cls, model: str | Path, *, device: str, dtype: str, **options: Any) -> Decoder:
        """Load a model from a folder or the Hub. options: those of the class.

        device: a torch device; "auto" for a GPU if there is one. dtype: one of DTYPES; "auto" for the checkpoint's own
        on a GPU and float32 on a CPU. Raises InputError if the model can't be loaded.
        """
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if device == "auto":
            device = str(default_device())
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"device {device!r}: can't be used here ({str(error).splitlines()[0]}). Expected auto, cpu, or the "
                "name of a GPU that torch sees."
            ) from error
        if dtype == "auto" and device == "cpu":
            dtype = "float32"
        name = str(model)
        place = locate(model, "a causal language model")
        source = str(download(place) if isinstance(place, Repository) and place.revision else place)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            # Weights missing from a checkpoint are initialised at random; keep the global generator untouched.
            with torch.random.fork_rng(devices=[]):
                loaded = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
            raise InputError(
                f"model {name!r}: can't be loaded ({str(error).splitlines()[0]}). Expected the id or the folder of a "
                "Hugging Face causal language model, with its tokenizer."
            ) from error
        return cls(name, loaded.to(device), tokenizer, **options)

    def start(self, messages: Sequence[Message], max_tokens: int, is_awaited: Callable[[], bool]) -> PartialReply:
        """Start a reply of at most `max_tokens` tokens (1 or more), or fewer if the context window ends earlier.

        Raises Permanent if the messages can't be encoded for this model, or the prompt is too long.
        """
        prompt = self._encode(messages)
        room = max_tokens if self._window is None else self._window - len(prompt)
        if not prompt or room < 1:
            raise Permanent(
                f"{self.name}: found a prompt of {len(prompt)} tokens; expected at least 1, and fewer than the model's "
                f"window of {self._window}. Shorten the prompt or the seed, or take a model with a longer window.",
                every=False,
            )
        draws = random.Random(f"{self._seed} {prompt}")
        return PartialReply(prompt, min(max_tokens, room), draws, self._matcher(), is_awaited)

    def write(self, rows: Sequence[PartialReply]) -> None:
        """Decode all rows to their end. The tokens of a row are independent of the others, up to rounding."""
        import torch

        while active := [row for row in rows if row.finish_reason is None]:
            steps = max(row.limit - len(row.ids) for row in active)
            if self._window is not None:
                # generate() goes on with finished rows as well, and position tables end at the window. So stop where
                # the first row reaches it, and go on with the others as a new batch.
                steps = min(steps, *(self._window - len(row.prompt) - len(row.ids) for row in active))
            prompts = [row.prompt + row.ids for row in active]
            length = max(map(len, prompts))
            pad = self._model.generation_config.pad_token_id
            inputs = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts])
            mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
            # transformers' own loop handles the caches and positions of all model families. It would sample from the
            # global generator; so it decodes greedily, and `choose` makes the sampled token the likeliest.
            self._model.generate(
                inputs.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                max_new_tokens=steps,
                logits_processor=[partial(self.choose, active)],
                stopping_criteria=[partial(_finished_rows, active)],
            )

    def text(self, row: PartialReply) -> str:
        """Return the text of a row. An incomplete character at its end becomes U+FFFD."""
        return str(self._tokens.decode_str(row.ids))

    def choose(self, rows: Sequence[PartialReply], input_ids: Any, scores: Any) -> Any:
        """Sample a token for every unfinished row, and append it to the row.

        input_ids: int64 [B, S]. scores: [B, V], modified in place. Returns scores [B, V] whose maximum is the sampled
        token.
        """
        import torch
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        active = [number for number, row in enumerate(rows) if row.finish_reason is None]
        bits = allocate_token_bitmask(len(rows), self._width)
        for number in active:
            fill_next_token_bitmask(rows[number].matcher, bits, number)
        # llguidance's own torch kernel does the same, but compiling it takes seconds and a compiler.
        forbidden = np.unpackbits(~bits.view(np.uint8), axis=1, count=self._width, bitorder="little").view(np.bool_)
        scores.masked_fill_(torch.from_numpy(forbidden).to(scores.device), -torch.inf)
        best_scores, best = scores.max(dim=-1)
        finite = best_scores.isfinite()
        for number, fine in enumerate(finite.tolist()):
            if not fine and rows[number].finish_reason is None:
                rows[number].fail("the model's scores are no finite numbers; another dtype may help")
        if self._warpers is not None:
            scores.masked_fill_(~finite[:, None], 0.0)
            for warp in self._warpers:
                scores = warp(input_ids, scores)
            points = [row.draws.random() if row.finish_reason is None else 0.0 for row in rows]
            best = _pick(scores, torch.tensor(points, device=scores.device))
            scores.scatter_(1, best[:, None], torch.inf)
        tokens = best.tolist()
        for number in active:
            rows[number].take(tokens[number], self._eos)
        return scores

    def _matcher(self) -> Any:
        import llguidance

        return llguidance.LLMatcher(self._tokens, self._grammar, log_level=0)

    def _single_bytes(self) -> Iterator[int]:
        """Yield the bytes that have a token of their own."""
        for token in range(self._width):
            if not self._tokens.is_special_token(token):
                characters = self._tokens.decode_bytes([token])
                if len(characters) == 1:
                    yield characters[0]

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        if not self._tokenizer.chat_template:
            return list(self._tokenizer.encode("\n\n".join(message["content"] for message in messages)))
        import jinja2

        try:
            # The schema leaves no room for a reasoning section, so disable it in models that have one.
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
        except jinja2.TemplateError as error:
            raise Permanent(f"{self.name}: its chat template refuses the messages: {error}", every=False) from error
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _cant_hold(self, why: str) -> UsageError:
        return UsageError(
            f"model {self.name!r}: replies can't be held to the schema with its tokenizer ({why}). Expected a fast "
            "tokenizer whose tokens can spell any text. Take another model, or let a server run this one and give it "
            "with --base-url."
        )


def _finished_rows(rows: Sequence[PartialReply], input_ids: Any, scores: Any, **_: Any) -> Any:
    """Return which rows are finished, bool [B]."""
    import torch

    return torch.tensor([row.finish_reason is not None for row in rows], device=input_ids.device)


def _pick(scores: Any, points: Any) -> Any:
    """Sample from scores [B, V] by inverting the cumulative distribution at points [B] in [0, 1); int64 [B]."""
    import torch

    sums = scores.softmax(dim=-1).cumsum(dim=-1)
    ends = sums[:, -1:]
    # Stay below the end despite rounding: beyond it there are only forbidden tokens.
    places = torch.minimum(points[:, None].to(sums) * ends, torch.nextafter(ends, torch.zeros_like(ends)))
    return torch.searchsorted(sums, places, right=True)[:, 0]


def _warpers(own: Any, temperature: float | None) -> list[Any] | None:
    """Return the transformations of the scores before sampling; None for greedy decoding."""
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if temperature is None:
        temperature = (1.0 if own.temperature is None else float(own.temperature)) if own.do_sample else 0.0
    if temperature == 0:
        return None
    warpers: list[Any] = [TemperatureLogitsWarper(float(temperature))]
    if own.top_k:
        warpers.append(TopKLogitsWarper(own.top_k))
    if own.top_p is not None and own.top_p < 1:
        warpers.append(TopPLogitsWarper(own.top_p))
    if own.min_p:
        warpers.append(MinPLogitsWarper(own.min_p))
    return warpers


def _eos(name: str, *candidates: int | Sequence[int] | None) -> list[int]:
    for candidate in candidates:
        if candidate is not None:
            return [candidate] if isinstance(candidate, int) else list(candidate)
    raise UsageError(
        f"model {name!r}: found no token that ends a text; expected eos_token_id in its generation_config.json, or an "
        "eos_token in its tokenizer's configuration. Add one of them."
    )


def _words(schema: Any) -> Iterator[str]:
    """Yield the strings in a schema: property names and choices."""
    if isinstance(schema, list):
        for item in schema:
            yield from _words(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (choice for choice in schema.get("enum", ()) if isinstance(choice, str))
        for value in schema.values():
            yield from _words(value)
