"""Compute the items of an iterator in a background thread, ahead of their consumer."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
_DEPTH = 8


class Prefetcher(Generic[T]):
    """Iterator over `items` that computes up to `depth` of them in advance.

    wait_seconds: how long the consumer waited for the latest item. An error raised by `items` is raised again where
    the item would have come. `close` stops the thread.
    """

    def __init__(self, items: Iterator[T], depth: int = _DEPTH) -> None:
        self.wait_seconds = 0.0
        self._items = items
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            start = time.monotonic()
            item, error = self._queue.get()
            self.wait_seconds = time.monotonic() - start
            if error is not None:
                if isinstance(error, StopIteration):
                    return
                raise error
            yield item  # type: ignore[misc]

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(0.01)

    def _run(self) -> None:
        try:
            for item in self._items:
                self._put(item, None)
                if self._closed.is_set():
                    return
            self._put(None, StopIteration())
        except BaseException as error:
            self._put(None, error)

    def _put(self, item: T | None, error: BaseException | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put((item, error), timeout=0.1)
                return
