"""What prompts about a video begin with, the instruction and the frames: read once, kept for the questions that follow.

For who asks about few videos again and again, as clients of a server do. Not for evaluations: what was read before
changes the last bits of what comes after, as any other batch does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..models.kv_cache import KVCache
from ..prompts.prompt import Prompt

_Key = tuple[int, tuple[int, ...]]


class Heads:
    """Readings of one model, the ones used last. most: bytes that all of them may take."""

    def __init__(self, most: int = 1 << 28) -> None:
        self._most = most
        self._bytes = 0
        # With each its video: as long as that is kept, no other object has its identity.
        self._kept: OrderedDict[_Key, tuple[object, KVCache]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def read(
        self, begun: Sequence[Prompt], videos: Sequence[object], read: Callable[[Sequence[int]], KVCache]
    ) -> KVCache:
        """All of `begun`, one row each. videos: what each is about, told apart by identity. read: reads those of some
        numbers."""
        keys = [(id(video), prompt.ids) for video, prompt in zip(videos, begun, strict=True)]
        rows: dict[_Key, KVCache] = {}
        if missing := [number for number, key in enumerate(keys) if key not in self._kept]:
            new = read(missing)
            for row, number in enumerate(missing):
                rows[keys[number]] = self._keep(keys[number], videos[number], new.take([row]))
        for key in keys:
            if key not in rows:
                self._kept.move_to_end(key)
                rows[key] = self._kept[key][1]
        while self._bytes > self._most:
            self._bytes -= self._kept.popitem(last=False)[1][1].nbytes
        return KVCache.join([rows[key] for key in keys])

    def _keep(self, key: _Key, video: object, context: KVCache) -> KVCache:
        self._kept[key] = video, context
        self._bytes += context.nbytes
        return context


@dataclass(frozen=True, slots=True)
class Distinct:
    """objects: each once. firsts: where each comes first. of: for every given one, which of the objects it is."""

    objects: tuple[object, ...]
    firsts: tuple[int, ...]
    of: tuple[int, ...]


def distinct(given: Sequence[object]) -> Distinct:
    """Objects told apart by identity."""
    place: dict[int, int] = {}
    of = tuple(place.setdefault(id(one), len(place)) for one in given)
    firsts = tuple(of.index(number) for number in range(len(place)))
    return Distinct(tuple(given[first] for first in firsts), firsts, of)


@dataclass(frozen=True, slots=True)
class Known:
    """heads: that were read before. videos: what stands for each video of a call, told apart by identity."""

    heads: Heads
    videos: Sequence[object]
