"""The writer in this process: any Hugging Face causal LM, with the interface of `Endpoint`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import InputError, UsageError
from ..core.install import install_line
from .decoding import DTYPES, Decoder, PartialReply
from .writers import Message, Mode, Permanent, Probe, TokenUsage


@dataclass(frozen=True)
class _PendingPrompt:
    messages: Sequence[Message]
    reply: asyncio.Future[str]

    def is_awaited(self) -> bool:
        """Whether the caller still waits; the future is cancelled together with the task that awaits it."""
        return not self.reply.cancelled()


class Local:
    """A model in this process. An async context manager, used inside one event loop.

    model: a folder or a Hub id, loaded on first use. schema: JSON schema of replies. max_tokens: maximum length of a
    reply, 1 or more. temperature: 0 for greedy decoding, None for the model's generation_config. batch: maximum number
    of replies decoded at once. device, dtype: as in `Decoder.load`. seed: the same seed and prompt give the same reply.
    Raises UsageError for an invalid option or a missing package, InputError for a missing folder.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        schema: Mapping[str, Any],
        max_tokens: int = 8192,
        temperature: float | None = None,
        batch: int = 8,
        device: str = "auto",
        dtype: str = "auto",
        seed: int = 0,
    ) -> None:
        if importlib.util.find_spec("llguidance") is None:
            raise UsageError(f"writing with a local model needs the llguidance package: {install_line('local')}")
        if batch < 1:
            raise UsageError(f"batch: found {batch}; expected at least 1.")
        if dtype not in DTYPES:
            raise UsageError(f"dtype: found {dtype!r}; expected one of {', '.join(DTYPES)}.")
        if not Path(model).is_dir() and (isinstance(model, Path) or model.startswith((".", "/", "~"))):
            raise InputError(
                f"{model}: found no such folder; expected one with a Hugging Face causal language model, or the "
                "model's id on the hub. Check the path."
            )
        self.model = str(model)
        self.max_tokens = max_tokens
        self.parameters: Mapping[str, Any] = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "sampling_seed": seed,
        }
        self._batch = batch
        self._load = partial(
            Decoder.load, model, device=device, dtype=dtype, schema=dict(schema), temperature=temperature, seed=seed
        )
        self._decoder: Decoder | None = None
        self._thread = ThreadPoolExecutor(1, "topa-local")
        self._waiting: deque[_PendingPrompt] = deque()
        self._writing: list[_PendingPrompt] = []
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Local:
        return self

    async def __aexit__(self, *_: object) -> None:
        for request in (*self._waiting, *self._writing):
            request.reply.cancel()  # the thread notices and stops after the current token
        if self._work is not None:
            await asyncio.wait([self._work])
        await asyncio.to_thread(self._thread.shutdown)

    async def probe(self) -> Probe:
        """Load the model; this needs no request. Raises InputError, UsageError or Permanent."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        return Probe(Mode(output="json_schema"), TokenUsage())

    async def ask(self, messages: Sequence[Message], mode: Mode) -> str:
        """Return the body of a chat completion in OpenAI's format. The reply obeys the schema whatever the mode.

        Raises Permanent if the model can't encode the messages or the memory is too small, and as `probe` does.
        """
        request = _PendingPrompt(messages, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._write_all())
        return await request.reply

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await self._settle()
            requests = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            self._writing = [request for request in requests if request.is_awaited()]
            if not self._writing:
                continue
            future = loop.run_in_executor(self._thread, self._write, self._writing)
            await asyncio.wait([future])
            # Pass every error on to the callers, including a panic of llguidance.
            error = future.exception()
            replies: Sequence[str | BaseException] = [error] * len(self._writing) if error else future.result()
            for request, reply in zip(self._writing, replies, strict=True):
                if not request.is_awaited():
                    continue
                if isinstance(reply, str):
                    request.reply.set_result(reply)
                else:
                    request.reply.set_exception(reply)
            self._writing = []

    async def _settle(self) -> None:
        """Yield to coroutines that are about to send a request, so that they share the batch."""
        before = 0
        while before < len(self._waiting) < self._batch:
            before = len(self._waiting)
            await asyncio.sleep(0)

    # In the thread.

    def _open(self) -> Decoder:
        if self._decoder is None:
            with _memory(self.model):
                self._decoder = self._load()
        return self._decoder

    def _write(self, requests: Sequence[_PendingPrompt]) -> list[str | Permanent]:
        decoder = self._open()
        rows: list[PartialReply | Permanent] = []
        for request in requests:
            try:
                rows.append(decoder.start(request.messages, self.max_tokens, request.is_awaited))
            except Permanent as error:
                rows.append(error)
        with _memory(self.model):
            decoder.write([row for row in rows if isinstance(row, PartialReply)])
        return [row if isinstance(row, Permanent) else self._body(decoder, row) for row in rows]

    def _body(self, decoder: Decoder, row: PartialReply) -> str | Permanent:
        if row.problem:
            return Permanent(f"{self.model}: the reply can't be written: {row.problem}", every=False)
        message = {"role": "assistant", "content": decoder.text(row)}
        tokens_in, tokens_out = len(row.prompt), len(row.ids)
        body = {
            "object": "chat.completion",
            "model": self.model,
            "choices": [{"index": 0, "message": message, "finish_reason": row.finish_reason}],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        }
        return json.dumps(body)


@contextmanager
def _memory(name: str) -> Iterator[None]:
    """Turn an out-of-memory error of the GPU into advice."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise Permanent(
            f"{name}: the GPU's memory is too small. Write fewer replies at once, with fewer tokens, or take a smaller "
            "model.",
            every=True,
        ) from error
