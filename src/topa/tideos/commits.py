"""Group commits: what many coroutines want to write at the same time waits for the disk once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .ledger import Ledger, TokenUsage
from .rejections import WINDOW, Rejections, count_rejections

T = TypeVar("T")


class Commits:
    """Runs operations of a ledger in a thread of its own, so that requests go on meanwhile. An async context manager.

    While one commit waits for the disk, the next one gathers. `spent`, `rejections`: what the ledger says of all
    processes' usage, and of the latest replies, as of the last commit.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._task: asyncio.Task[None] | None = None
        self.spent: TokenUsage = ledger.spent()
        self.rejections: Rejections = self._count_rejections()

    async def __aenter__(self) -> Commits:
        return self

    async def __aexit__(self, *_: object) -> None:
        # What was given is committed, even where those who gave it have been cancelled.
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        self._thread.shutdown()

    async def __call__(self, operation: Callable[[], T]) -> T:
        """Do an operation; on return its commit is on the disk. Raises what the ledger raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((operation, done))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return await done

    def _count_rejections(self) -> Rejections:
        return count_rejections(self._ledger.verdicts(WINDOW))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            operations = [operation for operation, _ in group]
            try:
                *results, self.spent, self.rejections = await loop.run_in_executor(
                    self._thread,
                    self._ledger.together,
                    [*operations, self._ledger.spent, self._count_rejections],
                )
            except Exception as error:
                for _, done in group:
                    if not done.done():
                        done.set_exception(error)
            else:
                for (_, done), result in zip(group, results, strict=True):
                    if not done.done():
                        done.set_result(result)
