"""Group commit: the writes of many coroutines share one wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .ledger import Ledger
from .rejections import WINDOW, Rejections, count_rejections
from .writers import TokenUsage

T = TypeVar("T")


class Commits:
    """Run operations of a ledger in a background thread. An async context manager.

    While one commit waits for the disk, the operations of the next one accumulate. usage, rejections: total usage of
    all processes and rejections among the latest replies, as of the last commit.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._task: asyncio.Task[None] | None = None
        self.usage: TokenUsage = ledger.total_usage()
        self.rejections: Rejections = self._count_rejections()

    async def __aenter__(self) -> Commits:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Pending operations are committed even if the coroutines that submitted them were cancelled.
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        self._thread.shutdown()

    async def __call__(self, operation: Callable[[], T]) -> T:
        """Run an operation; on return its commit is on the disk. Raises the errors of the ledger."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((operation, future))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return await future

    def _count_rejections(self) -> Rejections:
        return count_rejections(self._ledger.verdicts(WINDOW))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            operations = [operation for operation, _ in group]
            try:
                *results, self.usage, self.rejections = await loop.run_in_executor(
                    self._thread,
                    self._ledger.commit_all,
                    [*operations, self._ledger.total_usage, self._count_rejections],
                )
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), result in zip(group, results, strict=True):
                    if not future.done():
                        future.set_result(result)
