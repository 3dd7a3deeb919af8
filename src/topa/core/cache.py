"""The least-recently-used cache of the whole package."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """A mapping that evicts its least recently used entries. Not thread-safe.

    capacity: maximum total size of the values. size: of a value, fixed while it is cached; by default 1, so that
    `capacity` is a number of entries. A value larger than `capacity` isn't cached.
    """

    def __init__(self, capacity: int, size: Callable[[V], int] = lambda value: 1) -> None:
        self._capacity, self._size = capacity, size
        self._total = 0
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return the value of a key and mark it as used; None if it isn't cached."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Cache a value as the most recently used one."""
        self.discard(key)
        if self._size(value) > self._capacity:
            return
        self._entries[key] = value
        self._total += self._size(value)
        while self._total > self._capacity:
            self.discard(next(iter(self._entries)))

    def discard(self, key: K) -> None:
        """Remove a key if it is cached."""
        if key in self._entries:
            self._total -= self._size(self._entries.pop(key))

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Return the cached value of a key, or make and cache it."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        value = make()
        self.put(key, value)
        return value
