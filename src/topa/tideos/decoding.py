"""A causal language model that writes replies held to a JSON schema, several at once."""

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
_SIGNS = '{}[]":, ' + string.digits


@dataclass
class PartialReply:
    """A reply in the making. `limit`: its most tokens; `wanted`: whether somebody still waits for it.

    `ids`: the tokens so far, without the one that ends it. `ended`: "stop" when it is whole, "length" at the limit,
    "dropped" when nobody waits or it can't go on, `problem` says why; None until then.
    """

    prompt: list[int]
    limit: int
    draws: random.Random
    matcher: Any
    wanted: Callable[[], bool]
    ids: list[int] = field(default_factory=list)
    ended: Literal["stop", "length", "dropped"] | None = None
    problem: str = ""

    def take(self, token: int, eos: Sequence[int]) -> None:
        """Add a token that was chosen, and see whether the reply ends with it."""
        if self.problem:
            return
        if not self.wanted():
            self.ended = "dropped"
        elif not self.matcher.consume_token(token):
            self.fail(str(self.matcher.get_error()))
        elif token in eos:
            self.ended = "stop"
        else:
            self.ids.append(token)
            if self.matcher.is_stopped():
                self.ended = "stop"
            elif len(self.ids) >= self.limit:
                self.ended = "length"

    def fail(self, problem: str) -> None:
        """Nothing more can be written."""
        self.ended, self.problem = "dropped", problem


class Decoder:
    """A model with its tokenizer and a schema. Blocking, and not for two threads at once.

    `model`, `tokenizer`: as transformers loads them. `temperature`: 0 is greedy; None takes what the model's own
    generation_config says. `seed`: with a prompt it decides all draws. Raises UsageError where replies can't be held
    to the schema with this tokenizer.
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
        # What the schema prescribes can then be spelt byte by byte, so that no reply comes to a dead end.
        missing = set("".join([_SIGNS, *_words(schema)]).encode()) - set(self._single_bytes())
        if missing:
            raise self._cant_hold(f"it has no token for the single byte {bytes([min(missing)])!r}")
        # One way to set blanks, the one of most JSON in the world: where any were allowed, weak models write nothing
        # but blanks until the limit.
        blanks: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        self._grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=blanks)
        wrong = self._matcher().get_error()
        if wrong:
            raise self._cant_hold(wrong)
        self._warpers = _warpers(own, temperature)
        # What else a model's generation_config may say (beams, stop strings, forced or forbidden tokens) would work
        # against the schema.
        model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=self._eos,
            pad_token_id=self._eos[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            repetition_penalty=own.repetition_penalty,
        )

    @classmethod
    def load(cls, model: str | Path, *, device: str, dtype: str, **options: Any) -> Decoder:
        """Load a folder or a hub id. `options`: those of the class.

        `device`: as torch names it; "auto" is a GPU where there is one. `dtype`: one of DTYPES; "auto" is the
        checkpoint's own on a GPU and float32 on a CPU. Raises InputError where the model can't be loaded.
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
            # Weights that a checkpoint lacks are drawn at random.
            with torch.random.fork_rng(devices=[]):
                loaded = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
            raise InputError(
                f"model {name!r}: can't be loaded ({str(error).splitlines()[0]}). Expected the id or the folder of a "
                "Hugging Face causal language model, with its tokenizer."
            ) from error
        return cls(name, loaded.to(device), tokenizer, **options)

    def row(self, messages: Sequence[Message], max_tokens: int, wanted: Callable[[], bool]) -> PartialReply:
        """A reply to write, of at most `max_tokens` tokens, 1 or more, fewer where the model's window ends before.

        Raises Permanent where the messages can't be told to this model.
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
        return PartialReply(prompt, min(max_tokens, room), draws, self._matcher(), wanted)

    def write(self, rows: Sequence[PartialReply]) -> None:
        """Bring all rows to their end. A row's tokens don't depend on the others, up to rounding in the model."""
        import torch

        while alive := [row for row in rows if row.ended is None]:
            steps = max(row.limit - len(row.ids) for row in alive)
            if self._window is not None:
                # A row that has ended is fed on with the others; models with a table of positions end at its end.
                # Then the rest goes on as a batch of its own.
                steps = min(steps, *(self._window - len(row.prompt) - len(row.ids) for row in alive))
            prompts = [row.prompt + row.ids for row in alive]
            length = max(map(len, prompts))
            pad = self._model.generation_config.pad_token_id
            inputs = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts])
            mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
            # transformers' own loop knows the caches and positions of all families. It draws from the global
            # generator, so it is told to be greedy, and finds the chosen token to be the likeliest.
            self._model.generate(
                inputs.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                max_new_tokens=steps,
                logits_processor=[partial(self.choose, alive)],
                stopping_criteria=[partial(_ended, alive)],
            )

    def text(self, row: PartialReply) -> str:
        """The text of a row. What was cut inside a letter ends with U+FFFD."""
        return str(self._tokens.decode_str(row.ids))

    def choose(self, rows: Sequence[PartialReply], seen: Any, scores: Any) -> Any:
        """Choose a token for every row that hasn't ended, and add it to the row.

        `seen`: the tokens so far, int64 [B, S]; scores: [B, V], changed in place. Returns scores [B, V] whose largest
        is the chosen one.
        """
        import torch
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        going = [number for number, row in enumerate(rows) if row.ended is None]
        bits = allocate_token_bitmask(len(rows), self._width)
        for number in going:
            fill_next_token_bitmask(rows[number].matcher, bits, number)
        # llguidance's own torch kernel does the same after it was compiled, which takes seconds and a compiler.
        forbidden = np.unpackbits(~bits.view(np.uint8), axis=1, count=self._width, bitorder="little").view(np.bool_)
        scores.masked_fill_(torch.from_numpy(forbidden).to(scores.device), -torch.inf)
        largest, chosen = scores.max(dim=-1)
        sound = largest.isfinite()
        for number, fine in enumerate(sound.tolist()):
            if not fine and rows[number].ended is None:
                rows[number].fail("the model's scores are no finite numbers; another dtype may help")
        if self._warpers is not None:
            scores.masked_fill_(~sound[:, None], 0.0)
            for warp in self._warpers:
                scores = warp(seen, scores)
            points = [row.draws.random() if row.ended is None else 0.0 for row in rows]
            chosen = _pick(scores, torch.tensor(points, device=scores.device))
            scores.scatter_(1, chosen[:, None], torch.inf)
        tokens = chosen.tolist()
        for number in going:
            rows[number].take(tokens[number], self._eos)
        return scores

    def _matcher(self) -> Any:
        import llguidance

        return llguidance.LLMatcher(self._tokens, self._grammar, log_level=0)

    def _single_bytes(self) -> Iterator[int]:
        """The bytes that have a token of their own."""
        for token in range(self._width):
            if not self._tokens.is_special_token(token):
                spelt = self._tokens.decode_bytes([token])
                if len(spelt) == 1:
                    yield spelt[0]

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        if not self._tokenizer.chat_template:
            return list(self._tokenizer.encode("\n\n".join(message["content"] for message in messages)))
        import jinja2

        try:
            # A reply held to the schema has no room for thoughts: models that may think are told not to.
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


def _ended(rows: Sequence[PartialReply], seen: Any, scores: Any, **_: Any) -> Any:
    """Which rows have ended, bool [B]."""
    import torch

    return torch.tensor([row.ended is not None for row in rows], device=seen.device)


def _pick(scores: Any, points: Any) -> Any:
    """Of each row of scores [B, V] the token at a point [B] from 0 to 1 of its cumulated distribution: int64 [B]."""
    import torch

    sums = scores.softmax(dim=-1).cumsum(dim=-1)
    ends = sums[:, -1:]
    # Below the end, whatever rounding does: behind it there are only tokens that aren't allowed.
    places = torch.minimum(points[:, None].to(sums) * ends, torch.nextafter(ends, torch.zeros_like(ends)))
    return torch.searchsorted(sums, places, right=True)[:, 0]


def _warpers(own: Any, temperature: float | None) -> list[Any] | None:
    """What shapes the distribution that tokens are drawn from; None for greedy decoding."""
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if temperature is None:
        temperature = (1.0 if own.temperature is None else float(own.temperature)) if own.do_sample else 0.0
    if temperature == 0:
        return None
    found: list[Any] = [TemperatureLogitsWarper(float(temperature))]
    if own.top_k:
        found.append(TopKLogitsWarper(own.top_k))
    if own.top_p is not None and own.top_p < 1:
        found.append(TopPLogitsWarper(own.top_p))
    if own.min_p:
        found.append(MinPLogitsWarper(own.min_p))
    return found


def _eos(name: str, *given: int | Sequence[int] | None) -> list[int]:
    for found in given:
        if found is not None:
            return [found] if isinstance(found, int) else list(found)
    raise UsageError(
        f"model {name!r}: found no token that ends a text; expected eos_token_id in its generation_config.json, or an "
        "eos_token in its tokenizer's configuration. Add one of them."
    )


def _words(schema: Any) -> Iterator[str]:
    """The texts that a schema prescribes: names of properties, and choices."""
    if isinstance(schema, list):
        for item in schema:
            yield from _words(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (choice for choice in schema.get("enum", ()) if isinstance(choice, str))
        for value in schema.values():
            yield from _words(value)
