"""What prompts about a video begin with, the instruction and the frames: read once, and kept for later requests.

For servers, whose clients ask about few videos again and again. Not for evaluations: a kept prefix changes the last
bits of what follows, as any other batch does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..models.kv_cache import KVCache
from ..prompts.prompt import Prompt

_Key = tuple[int, tuple[int, ...]]


class PrefixCache:
    """Prefixes that one model has read, the most recently used ones. max_bytes: of their keys and values together."""

    def __init__(self, max_bytes: int = 1 << 28) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        # Each with its video: as long as that is kept, no other object has its identity.
        self._entries: OrderedDict[_Key, tuple[object, KVCache]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def read(
        self, prefixes: Sequence[Prompt], videos: Sequence[object], read: Callable[[Sequence[int]], KVCache]
    ) -> KVCache:
        """Return all prefixes, one row each. videos: what each is about, told apart by identity. read: reads the
        prefixes of some numbers."""
        keys = [(id(video), prompt.ids) for video, prompt in zip(videos, prefixes, strict=True)]
        rows: dict[_Key, KVCache] = {}
        if missing := [number for number, key in enumerate(keys) if key not in self._entries]:
            new = read(missing)
            for row, number in enumerate(missing):
                rows[keys[number]] = self._put(keys[number], videos[number], new.take([row]))
        for key in keys:
            if key not in rows:
                self._entries.move_to_end(key)
                rows[key] = self._entries[key][1]
        while self._bytes > self._max_bytes:
            self._bytes -= self._entries.popitem(last=False)[1][1].nbytes
        return KVCache.join([rows[key] for key in keys])

    def _put(self, key: _Key, video: object, context: KVCache) -> KVCache:
        self._entries[key] = video, context
        self._bytes += context.nbytes
        return context


@dataclass(frozen=True, slots=True)
class CachedVideos:
    """A cache, and what stands in it for each video of a call, told apart by identity."""

    cache: PrefixCache
    videos: Sequence[object]


@dataclass(frozen=True, slots=True)
class UniqueObjects:
    """objects: each once. first: where each comes first. index: for every given one, which of the objects it is."""

    objects: tuple[object, ...]
    first: tuple[int, ...]
    index: tuple[int, ...]

    @classmethod
    def of(cls, given: Sequence[object]) -> UniqueObjects:
        """Tell objects apart by identity."""
        place: dict[int, int] = {}
        index = tuple(place.setdefault(id(one), len(place)) for one in given)
        first = tuple(index.index(number) for number in range(len(place)))
        return cls(tuple(given[number] for number in first), first, index)
