"""What is made ahead of its use, in a thread, and how long whoever takes it waited."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
_AHEAD = 8


class Prefetcher(Generic[T]):
    """Iterates over `items`, `ahead` of them ahead of whoever takes them. waited: seconds of the last one.

    An error of `items` reaches the taker in its place. `close` ends the thread; until then it may run ahead.
    """

    def __init__(self, items: Iterator[T], ahead: int = _AHEAD) -> None:
        self.waited = 0.0
        self._items = items
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            began = time.monotonic()
            item, error = self._queue.get()
            self.waited = time.monotonic() - began
            if error is not None:
                if isinstance(error, StopIteration):
                    return
                raise error
            yield item  # type: ignore[misc]

    def close(self) -> None:
        """End the thread."""
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
