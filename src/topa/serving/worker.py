"""The one thread that the model runs in: what waits is answered together, texts go on while others join.

Coroutines hand work in and await it. While the model is busy, work gathers; then all of it goes into the next passes:
batches form by themselves, and a request that is alone never waits for company.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from ..inference.asked import Asked
from ..inference.continuous import Continuous, Finish, Spoken, Text, Wanted
from ..inference.engine import Topa
from ..inference.heads import Heads, Known, distinct
from ..inference.scoring import Scores, score_rows, stack
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


class _Call(_Job):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self.call = call


class _Score(_Job):
    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked = asked


class _Encode(_Job):
    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        super().__init__()
        self.pictures = pictures


@dataclass(frozen=True, slots=True)
class Said:
    """What a text has come to. text: all of it so far. tokens: all of them. finish: None while it goes on."""

    text: str
    tokens: tuple[Spoken, ...]
    finish: Finish | None


class _Say(_Job):
    """watched: told after each token; otherwise the result is the end alone."""

    def __init__(self, wanted: Wanted, *, watched: bool) -> None:
        super().__init__()
        self.wanted = wanted
        self.told: asyncio.Queue[Said | BaseException] | None = asyncio.Queue() if watched else None

    def settle(self, value: Any) -> None:
        if self.told is None:
            super().settle(value)
        else:
            self.told.put_nowait(value)


class Worker:
    """Runs the model for coroutines of one loop. batch: how many requests share a pass; 1 serves one by one. observe:
    told of each pass what it did ("score", "say", "step", "encode") for how many.

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
        self._heads = Heads()
        self._talk = Continuous(engine.model, engine.prompter.tokenizer, self._heads)
        self._saying: dict[Text, _Say] = {}
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
        result: _Result = await self._submit(_Call(call))
        return result

    async def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unit rows of pictures, float32 [N, D]."""
        rows: Tensor = await self._submit(_Encode(pictures))
        return rows

    async def score(self, asked: Asked) -> Scores:
        """Compare the options of a question."""
        scores: Scores = await self._submit(_Score(asked))
        return scores

    async def say(self, wanted: Wanted) -> Said:
        """Generate a text."""
        said: Said = await self._submit(_Say(wanted, watched=False))
        return said

    async def stream(self, wanted: Wanted) -> AsyncGenerator[Said]:
        """Generate a text, told after each token; closing the iterator ends it."""
        job = _Say(wanted, watched=True)
        self._hand_in(job)
        assert job.told is not None
        try:
            while True:
                said = await job.told.get()
                if isinstance(said, BaseException):
                    raise said
                yield said
                if said.finish is not None:
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
            told: list[tuple[_Job, Any]] = []
            self._turn(jobs, told)
            if told:
                try:
                    self._loop.call_soon_threadsafe(_settle, told)
                except RuntimeError:  # the loop has ended, and with it all who wait
                    return

    def _next(self) -> list[_Job] | None:
        """The work of one turn: all that waits, as far as it fits; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._talk or self._closing)
            if self._closing and not self._jobs and not self._talk:
                return None
            if self._batch == 1 and self._talk:
                return []
            taken: list[_Job] = []
            left: deque[_Job] = deque()
            room, calls = self._batch - len(self._talk), 1
            while self._jobs and len(taken) < self._batch:
                job = self._jobs.popleft()
                if job.over:
                    continue
                if isinstance(job, _Call):  # of unknown length: one at a time, and the others go on between them
                    fits, calls = calls > 0, calls - 1
                elif isinstance(job, _Say):
                    fits, room = room > 0, room - 1
                else:
                    fits = True
                (taken if fits else left).append(job)
            self._jobs.extendleft(reversed(left))
            return taken

    def _turn(self, jobs: list[_Job], told: list[tuple[_Job, Any]]) -> None:
        """Do some work, and one step of all texts."""
        self._together([job for job in jobs if isinstance(job, _Encode)], self._encode, told)
        for by_letter in (False, True):
            some = [job for job in jobs if isinstance(job, _Score) and job.asked.by_letter == by_letter]
            self._together(some, self._score, told)
        self._together([job for job in jobs if isinstance(job, _Call)], lambda own: [own[0].call()], told)
        self._together([job for job in jobs if isinstance(job, _Say)], self._say, told)
        self._step(told)

    def _together(self, jobs: Sequence[Any], do: Callable[[Any], Sequence[Any]], told: list[tuple[_Job, Any]]) -> None:
        """Do all in one pass; where that fails one by one, so that only the one at fault does."""
        if not jobs:
            return
        try:
            told += [(job, value) for job, value in zip(jobs, do(jobs), strict=True) if value is not _LATER]
        except Exception as error:
            if len(jobs) == 1:
                told.append((jobs[0], error))
                return
            for job in jobs:
                self._together([job], do, told)

    def _encode(self, jobs: Sequence[_Encode]) -> Sequence[Tensor]:
        self._observe("encode", len(jobs))
        rows = self._engine.encoder.encode_images([picture for job in jobs for picture in job.pictures])
        return torch.split(rows, [len(job.pictures) for job in jobs])

    def _score(self, jobs: Sequence[_Score]) -> Sequence[Scores]:
        self._observe("score", len(jobs))
        asked = [job.asked for job in jobs]
        shown = distinct([own.seen for own in asked])
        values, valid = stack([(asked[n].values, asked[n].valid) for n in shown.firsts])
        known = Known(self._heads, shown.objects)
        rows, by_letter = [own.prompts for own in asked], asked[0].by_letter
        return score_rows(self._engine.model, rows, values, valid, shown.of, by_letter=by_letter, known=known)

    def _say(self, jobs: Sequence[_Say]) -> Sequence[Any]:
        self._observe("say", len(jobs))
        self._saying |= zip(self._talk.add([job.wanted for job in jobs]), jobs, strict=True)
        return [_LATER] * len(jobs)

    def _step(self, told: list[tuple[_Job, Any]]) -> None:
        self._forget([text for text, job in self._saying.items() if job.over])
        if not self._talk:
            return
        self._observe("step", len(self._talk))
        try:
            self._talk.step()
        except Exception as error:
            told += [(job, error) for job in self._saying.values()]
            self._forget(list(self._saying))
            return
        for text, job in list(self._saying.items()):
            if text.finish is not None:
                del self._saying[text]
            elif job.told is None:
                continue
            told.append((job, Said(self._talk.words(text), tuple(text.spoken), text.finish)))

    def _forget(self, texts: Sequence[Text]) -> None:
        self._talk.drop(texts)
        for text in texts:
            del self._saying[text]


def _settle(told: Sequence[tuple[_Job, Any]]) -> None:
    for job, value in told:
        job.settle(value)
