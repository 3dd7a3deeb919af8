"""The one thread that the model runs in: what waits is answered together, texts go on while others join.

Coroutines hand work in and await it. While the model is busy, work gathers; then all of it goes into the next passes:
batches form by themselves, and a request that is alone never waits for company.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from ..inference.answer import Answer
from ..inference.engine import Topa
from ..inference.generator import Completion, ContinuousBatcher, GeneratedSequence, GenerationTask
from ..inference.prefix_cache import PrefixCache
from ..inference.prepared import PreparedRequest
from .errors import RequestError

_Result = TypeVar("_Result")
_LATER = object()  # instead of a result: it comes with later steps


class _Job:
    """Work that somebody awaits. Made, settled and cancelled in the loop's thread; done in the model's."""

    def __init__(self) -> None:
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.result.done()

    def settle(self, value: Any) -> None:
        if self.over:
            return
        if isinstance(value, BaseException):
            self.result.set_exception(value)
        else:
            self.result.set_result(value)


class _CallJob(_Job):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self.call = call


class _AnswerJob(_Job):
    def __init__(self, request: PreparedRequest) -> None:
        super().__init__()
        self.request = request


class _EncodeJob(_Job):
    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        super().__init__()
        self.pictures = pictures


class _GenerateJob(_Job):
    """streamed: a completion comes after each token; otherwise the result is the last one alone."""

    def __init__(self, task: GenerationTask, *, streamed: bool) -> None:
        super().__init__()
        self.task = task
        self.queue: asyncio.Queue[Completion | BaseException] | None = asyncio.Queue() if streamed else None

    def settle(self, value: Any) -> None:
        if self.queue is None:
            super().settle(value)
        else:
            self.queue.put_nowait(value)


class Worker:
    """Runs the model for coroutines of one loop. batch: how many requests share a pass; 1 serves one by one. observe:
    called after each pass with what it did ("score", "say", "step", "encode"), and for how many requests.

    What a pass makes of a request doesn't depend on the others in it; where one fails, the others are answered.
    """

    def __init__(self, engine: Topa, batch: int, observe: Callable[[str, int], None] = lambda *_: None) -> None:
        self._engine = engine
        self._batch = batch
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._prefix_cache = PrefixCache()
        self._batcher = ContinuousBatcher(engine.model, engine.prompter.tokenizer, self._prefix_cache)
        self._generating: dict[GeneratedSequence, _GenerateJob] = {}
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs and takes work."""
        return self._thread.is_alive() and not self._closing

    @property
    def waiting(self) -> int:
        """Work that hasn't begun."""
        return len(self._jobs)

    async def call(self, call: Callable[[], _Result]) -> _Result:
        """Run something with the model to itself."""
        result: _Result = await self._submit(_CallJob(call))
        return result

    async def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unit rows of pictures, float32 [N, D]."""
        rows: Tensor = await self._submit(_EncodeJob(pictures))
        return rows

    async def answer(self, request: PreparedRequest) -> Answer:
        """Answer a request with options, in one pass with others of its protocol."""
        answer: Answer = await self._submit(_AnswerJob(request))
        return answer

    async def generate(self, task: GenerationTask) -> Completion:
        """Generate a text."""
        completion: Completion = await self._submit(_GenerateJob(task, streamed=False))
        return completion

    async def stream(self, task: GenerationTask) -> AsyncGenerator[Completion]:
        """Generate a text, and yield what it has come to after each token; closing the iterator ends it."""
        job = _GenerateJob(task, streamed=True)
        self._hand_in(job)
        assert job.queue is not None
        try:
            while True:
                completion = await job.queue.get()
                if isinstance(completion, BaseException):
                    raise completion
                yield completion
                if completion.finish is not None:
                    return
        finally:
            job.result.cancel()

    async def close(self) -> None:
        """Finish what was handed in, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    async def _submit(self, job: _Job) -> Any:
        self._hand_in(job)
        return await job.result  # cancelling this cancels the job

    def _hand_in(self, job: _Job) -> None:
        with self._changed:
            if self._closing:
                raise RequestError(
                    "the server is shutting down; ask again when it is back.", status=503, code="shutting_down"
                )
            self._jobs.append(job)
            self._changed.notify()

    def _run(self) -> None:
        while (jobs := self._next()) is not None:
            results: list[tuple[_Job, Any]] = []
            self._turn(jobs, results)
            if results:
                try:
                    self._loop.call_soon_threadsafe(_settle, results)
                except RuntimeError:  # the loop has ended, and with it all who wait
                    return

    def _next(self) -> list[_Job] | None:
        """The work of one turn: all that waits, as far as it fits; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._batcher or self._closing)
            if self._closing and not self._jobs and not self._batcher:
                return None
            if self._batch == 1 and self._batcher:
                return []
            taken: list[_Job] = []
            left: deque[_Job] = deque()
            room, calls = self._batch - len(self._batcher), 1
            while self._jobs and len(taken) < self._batch:
                job = self._jobs.popleft()
                if job.over:
                    continue
                if isinstance(job, _CallJob):  # of unknown length: one at a time, and the others go on between them
                    fits, calls = calls > 0, calls - 1
                elif isinstance(job, _GenerateJob):
                    fits, room = room > 0, room - 1
                else:
                    fits = True
                (taken if fits else left).append(job)
            self._jobs.extendleft(reversed(left))
            return taken

    def _turn(self, jobs: list[_Job], results: list[tuple[_Job, Any]]) -> None:
        """Do some work, and one step of all texts."""
        self._together([job for job in jobs if isinstance(job, _EncodeJob)], self._encode, results)
        for protocol in ("logits", "selection"):
            some = [job for job in jobs if isinstance(job, _AnswerJob) and job.request.protocol == protocol]
            self._together(some, self._answer, results)
        self._together([job for job in jobs if isinstance(job, _CallJob)], lambda own: [own[0].call()], results)
        self._together([job for job in jobs if isinstance(job, _GenerateJob)], self._generate, results)
        self._step(results)

    def _together(
        self, jobs: Sequence[Any], do: Callable[[Any], Sequence[Any]], results: list[tuple[_Job, Any]]
    ) -> None:
        """Do all in one pass; where that fails one by one, so that only the one at fault does."""
        if not jobs:
            return
        try:
            results += [(job, value) for job, value in zip(jobs, do(jobs), strict=True) if value is not _LATER]
        except Exception as error:
            if len(jobs) == 1:
                results.append((jobs[0], error))
                return
            for job in jobs:
                self._together([job], do, results)

    def _encode(self, jobs: Sequence[_EncodeJob]) -> Sequence[Tensor]:
        self._observe("encode", len(jobs))
        rows = self._engine.encoder.encode_images([picture for job in jobs for picture in job.pictures])
        return torch.split(rows, [len(job.pictures) for job in jobs])

    def _answer(self, jobs: Sequence[_AnswerJob]) -> Sequence[Answer]:
        self._observe("score", len(jobs))
        return self._engine.answer([job.request for job in jobs], prefix_cache=self._prefix_cache)

    def _generate(self, jobs: Sequence[_GenerateJob]) -> Sequence[Any]:
        self._observe("say", len(jobs))
        self._generating |= zip(self._batcher.add([job.task for job in jobs]), jobs, strict=True)
        return [_LATER] * len(jobs)

    def _step(self, results: list[tuple[_Job, Any]]) -> None:
        self._forget([sequence for sequence, job in self._generating.items() if job.over])
        if not self._batcher:
            return
        self._observe("step", len(self._batcher))
        try:
            self._batcher.step()
        except Exception as error:
            results += [(job, error) for job in self._generating.values()]
            self._forget(list(self._generating))
            return
        for sequence, job in list(self._generating.items()):
            if sequence.finish is not None:
                del self._generating[sequence]
            elif job.queue is None:
                continue
            results.append((job, self._batcher.completion(sequence)))

    def _forget(self, sequences: Sequence[GeneratedSequence]) -> None:
        self._batcher.drop(sequences)
        for sequence in sequences:
            del self._generating[sequence]


def _settle(results: Sequence[tuple[_Job, Any]]) -> None:
    for job, value in results:
        job.settle(value)
