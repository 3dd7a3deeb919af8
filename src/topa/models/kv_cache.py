"""What a batch has read: keys and values that reading and generation go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .compat import DynamicCache, cached_layers, copy_cache


@dataclass(frozen=True, slots=True)
class KVCache:
    """What a batch has read so far. A value: going on from it leaves it unchanged, so it can be shared.

    states: keys and values of K tokens, [B, g, K, d] per layer, adapter prompts not among them. visible: bool [B, K],
    False for padding. is_video: bool [B, K]. next_logits: [B, V] after the last visible token.
    """

    states: DynamicCache
    visible: Tensor
    is_video: Tensor
    next_logits: Tensor

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        layers = cached_layers(self.states)
        return int(self.next_logits.nbytes + sum(layer.keys.nbytes + layer.values.nbytes for layer in layers))

    def repeat(self, times: int) -> KVCache:
        """Repeat every row `times` times, copies of a row beside each other: a batch of B*times."""
        return self.take([row for row in range(len(self.visible)) for _ in range(times)])

    def take(self, rows: Sequence[int]) -> KVCache:
        """Return these rows, in this order, each as often as it is named."""
        if list(rows) == list(range(len(self.visible))):
            return self
        index = torch.tensor(rows, device=self.visible.device)
        states = copy_cache(self.states)
        states.batch_select_indices(index)
        visible, is_video, logits = (value[index] for value in (self.visible, self.is_video, self.next_logits))
        return replace(self, states=states, visible=visible, is_video=is_video, next_logits=logits)

    @staticmethod
    def join(caches: Sequence[KVCache]) -> KVCache:
        """Join the rows of several caches of one model to one batch: what each has read is moved to the right end,
        padding before it, and no more of it than the longest row needs."""
        width = max(int(cache.visible.sum(dim=1).max()) for cache in caches)
        aligned = [_align_right(cache, width) for cache in caches]
        if len(aligned) == 1:
            return aligned[0]
        states = copy_cache(aligned[0].states)
        for layer, *parts in zip(cached_layers(states), *(cached_layers(c.states) for c in aligned), strict=True):
            layer.keys = torch.cat([part.keys for part in parts])
            layer.values = torch.cat([part.values for part in parts])
        return KVCache(
            states,
            torch.cat([cache.visible for cache in aligned]),
            torch.cat([cache.is_video for cache in aligned]),
            torch.cat([cache.next_logits for cache in aligned]),
        )


def _align_right(cache: KVCache, width: int) -> KVCache:
    """Move what each row has read to the last of `width` columns."""
    batch, length = cache.visible.shape
    states = copy_cache(cache.states)
    if bool((cache.visible[:, 1:] >= cache.visible[:, :-1]).all()):  # it is at the right end already
        for layer in cached_layers(states):
            layer.keys, layer.values = (_fit_width(tensor, width, 2) for tensor in (layer.keys, layer.values))
        visible, is_video = (_fit_width(tensor, width, 1) for tensor in (cache.visible, cache.is_video))
        return replace(cache, states=states, visible=visible, is_video=is_video)
    # A stable sort puts what isn't visible first, and leaves the rest in order.
    order = functional.pad(cache.visible.long().argsort(dim=1, stable=True), (max(0, width - length), 0))[:, -width:]
    column = torch.arange(width, device=cache.visible.device)
    visible = column >= width - cache.visible.sum(dim=1, keepdim=True)
    for layer in cached_layers(states):
        heads, size = layer.keys.shape[1], layer.keys.shape[3]
        places = order[:, None, :, None].expand(batch, heads, width, size)
        layer.keys = layer.keys.gather(2, places)
        layer.values = layer.values.gather(2, places[..., :1].expand(*places.shape[:3], layer.values.shape[3]))
    return replace(cache, states=states, visible=visible, is_video=cache.is_video.gather(1, order) & visible)


def _fit_width(tensor: Tensor, width: int, dim: int) -> Tensor:
    """Return the last `width` columns of a dimension: a view, or zeros before all of them where there are fewer."""
    length = tensor.shape[dim]
    if width <= length:
        return tensor.narrow(dim, length - width, width)
    return functional.pad(tensor, (0, 0) * (tensor.ndim - 1 - dim) + (width - length, 0))
