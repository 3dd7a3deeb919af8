"""A frozen language model that reads videos: the LLM, gated prompts in its layers and the frame projector.

Reads token ids and frame features in text space, writes logits, a `Context` to go on from, or tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from ..core.errors import ArtifactMismatch, UsageError
from .adapter import GatedPrompts
from .attention import Call, PromptStates, Watch, attach, verify, verify_reached
from .compat import DynamicCache, cache_argument, cached_layers, copy_cache
from .lora import add_lora
from .projector import FrameProjector


@dataclass(frozen=True, slots=True)
class ParameterReport:
    """How many numbers train, by part, and how many are frozen."""

    trainable: dict[str, int]
    frozen: int

    @property
    def total_trainable(self) -> int:
        """All trainable parameters together."""
        return sum(self.trainable.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {count:,}" for name, count in self.trainable.items())
        share = self.total_trainable / (self.total_trainable + self.frozen)
        return f"trainable {self.total_trainable:,} ({share:.3%}): {parts}; frozen {self.frozen:,}"


@dataclass(frozen=True, slots=True)
class Context:
    """What a batch has read so far. A value: going on from it leaves it as it was, so it can be shared.

    cache: keys and values of K tokens, [B, g, K, d] per layer, adapter prompts not among them. visible: bool [B, K],
    False for padding. is_video: bool [B, K]. next_logits: [B, V] after the last visible token.
    """

    cache: DynamicCache
    visible: Tensor
    is_video: Tensor
    next_logits: Tensor

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        layers = cached_layers(self.cache)
        return int(self.next_logits.nbytes + sum(layer.keys.nbytes + layer.values.nbytes for layer in layers))

    def repeat(self, times: int) -> Context:
        """Every row `times` times, copies of a row beside each other: a batch of B*times."""
        return self.take([row for row in range(len(self.visible)) for _ in range(times)])

    def take(self, rows: Sequence[int]) -> Context:
        """These rows, in this order, each as often as it is named."""
        if list(rows) == list(range(len(self.visible))):
            return self
        index = torch.tensor(rows, device=self.visible.device)
        cache = copy_cache(self.cache)
        cache.batch_select_indices(index)
        visible, is_video, logits = (value[index] for value in (self.visible, self.is_video, self.next_logits))
        return replace(self, cache=cache, visible=visible, is_video=is_video, next_logits=logits)

    @staticmethod
    def join(contexts: Sequence[Context]) -> Context:
        """The rows of several contexts of one model as one batch: what each has read stands at the right end, padding
        before it, and no more of it than the longest row needs."""
        width = max(int(context.visible.sum(dim=1).max()) for context in contexts)
        moved = [_aligned(context, width) for context in contexts]
        if len(moved) == 1:
            return moved[0]
        cache = copy_cache(moved[0].cache)
        for layer, *parts in zip(cached_layers(cache), *(cached_layers(c.cache) for c in moved), strict=True):
            layer.keys = torch.cat([part.keys for part in parts])
            layer.values = torch.cat([part.values for part in parts])
        return Context(
            cache,
            torch.cat([context.visible for context in moved]),
            torch.cat([context.is_video for context in moved]),
            torch.cat([context.next_logits for context in moved]),
        )


class VideoLanguageModel(nn.Module):
    """`llm`, frozen, with trainable prompts in its last `adapted_layers` layers (all by default) and a projector.

    The LLM is attached in place and frozen; it isn't part of this module's state dict or parameters, but follows
    `.to(...)`. All layers run. Trainable weights are float32 whatever the LLM's type. lora_rank: low-rank updates of
    the adapted layers' matrices instead of prompts (LoRA, arXiv 2106.09685, by PEFT), inside the LLM; there is no
    video bias then.

    Source: TOPA (arXiv 2405.13911). Deviations: padding frames are masked and take no position (released code: they
    are read); layers below the adapted ones run (released code: skipped; `models.meta` can build such a stack); the
    rotary base is the LLM's own.
    Raises UsageError for an LLM that can't take the adapter.
    """

    def __init__(
        self,
        llm: PreTrainedModel,
        feature_width: int,
        *,
        frames: int = 10,
        tokens_per_frame: int = 1,
        prompt_length: int = 50,
        bias: float = 3.5,
        adapted_layers: int | None = None,
        prompt_std: float = 1.0,
        temporal_std: float = 1.0,
        lora_rank: int | None = None,
    ) -> None:
        super().__init__()
        config = llm.config.get_text_config()
        layers, width, heads = config.num_hidden_layers, config.hidden_size, config.num_attention_heads
        adapted = layers if adapted_layers is None else adapted_layers
        if not 0 < adapted <= layers:
            raise UsageError(f"adapted_layers: found {adapted}, expected 1 to {layers}, the layers of this LLM.")
        attach(llm)
        llm.requires_grad_(False).eval()
        # In a tuple, where nn.Module doesn't look for submodules.
        self._llm = (llm,)
        self._states: tuple[object, PromptStates] = (None, {})
        self._first_adapted = layers - adapted
        self.projector = FrameProjector(feature_width, width, frames, tokens_per_frame, temporal_std)
        self.prompts = nn.ModuleList(
            GatedPrompts(width, heads, prompt_length, bias, prompt_std)
            for _ in range(adapted if lora_rank is None else 0)
        )
        if lora_rank is not None:
            add_lora(llm, lora_rank, range(self._first_adapted, layers))
        self.to(llm.device)

    @property
    def llm(self) -> PreTrainedModel:
        """The frozen language model."""
        return self._llm[0]

    def _apply(self, fn: Any, recurse: bool = True) -> VideoLanguageModel:
        # .to(device) and the like concern the LLM as well, or the next forward would mix devices. An LLM spread over
        # several devices stays where it is.
        if len({parameter.device for parameter in self.llm.parameters()}) == 1:
            self.llm._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(
        self,
        input_ids: Tensor,
        *,
        frames: Tensor | None = None,
        frame_valid: Tensor | None = None,
        is_slot: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        context: Context | None = None,
        positions: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Logits of the next token at every position, or at `positions` only.

        input_ids: int64 [B, S]; the ids in slots are looked up and then replaced, so any valid id will do.
        frames: float [B, T, D] unit rows, text space. frame_valid: bool [B, T]; a frame that isn't valid is masked
        and takes no position. is_slot: bool [B, S], where the frames go, in order: k slots per frame; a row may have
        fewer slots where its last frames aren't valid. attention_mask: bool or 0/1 [B, S], False for padding on
        either side, or bool [B, 1, S, context + S], which token may read which, for rows that aren't one text from left
        to right: then position_ids are needed, and sliding windows count by them.
        position_ids: int64 [B, S], by default a count of the visible tokens. context: what was read before, unchanged
        by this. positions: rows and columns, int64 [N] each; the head runs there only.
        Returns [B, S, V], or [N, V]; logits at padding mean nothing. Raises UsageError for frames that don't fit the
        slots, and where the LLM's attention implementation was changed behind the adapter's back.
        """
        read = self.embed(input_ids, frames, frame_valid, is_slot, attention_mask)
        return self._run(read, is_slot, attention_mask, position_ids, context, positions, keep=False)[0]

    @torch.no_grad()
    def prefill(
        self,
        input_ids: Tensor,
        *,
        frames: Tensor | None = None,
        frame_valid: Tensor | None = None,
        is_slot: Tensor | None = None,
        attention_mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Context:
        """Read a batch and keep what was read. Arguments as in `forward`; attention_mask is [B, S] here.

        Every row must have a visible token. Padding may be on the left or on the right; going on works with both.
        """
        given = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        last = _last(given.bool())
        read = self.embed(input_ids, frames, frame_valid, is_slot, attention_mask)
        _, kept = self._run(read, is_slot, attention_mask, None, context, last, keep=True)
        assert kept is not None
        return kept

    def begin(self, input_ids: Tensor, rows: int) -> Context:
        """Read the tokens that all rows of a batch begin with once: int64 [1, S], no frames among them.

        Unlike after `prefill`, gradients flow back through it, so that training may go on from it.
        """
        at = torch.zeros(1, dtype=torch.int64, device=input_ids.device)
        positions = at, at + input_ids.shape[1] - 1
        _, read = self._run(self.embed(input_ids), None, None, None, None, positions, keep=True)
        assert read is not None
        return read.repeat(rows)

    @torch.no_grad()
    def greedy(
        self, context: Context, max_new_tokens: int, eos: int | Sequence[int] = (), banned: Sequence[int] = ()
    ) -> list[list[int]]:
        """The most likely continuation of each row, token by token, at most `max_new_tokens` of them.

        eos: id or ids that end a row and aren't part of it. banned: ids that are never chosen.
        """
        ends = torch.tensor([eos] if isinstance(eos, int) else list(eos), device=context.visible.device)
        forbidden = torch.tensor(list(banned), dtype=torch.int64, device=context.visible.device)
        chosen: list[Tensor] = []
        running = torch.ones(len(context.visible), dtype=torch.bool, device=context.visible.device)
        for step in range(max_new_tokens):
            token = context.next_logits.index_fill(1, forbidden, -torch.inf).argmax(dim=-1)
            running = running & ~torch.isin(token, ends)
            chosen.append(torch.where(running, token, -1))
            if step + 1 == max_new_tokens or not running.any():
                break
            context = self.prefill(token[:, None], context=context)
        rows = torch.stack(chosen, dim=1).tolist() if chosen else [[] for _ in running]
        return [[token for token in row if token >= 0] for row in rows]

    @torch.no_grad()
    def branch_nll(
        self,
        input_ids: Tensor,
        branches: Tensor,
        branch_mask: Tensor,
        *,
        frames: Tensor | None = None,
        frame_valid: Tensor | None = None,
        is_slot: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labelled: Tensor | None = None,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of N continuations of each row, which is read once, in one pass.

        input_ids [B, S] with frames and so on as in `forward`, attention_mask [B, S]: what the continuations of a row
        share. branches: int64 [B, N, L]; branch_mask: bool [B, N, L], False for padding on the right. labelled: bool
        [B, S], shared tokens whose likelihood is wanted as well; each has another one before it. Returns float32
        [B, S], 0 where not labelled, and [B, N, L], 0 where masked: those of full forwards over row and continuation.
        """
        batch, count, length = branches.shape
        size, device = input_ids.shape[1], input_ids.device
        embeds, is_video, visible = self.embed(input_ids, frames, frame_valid, is_slot, attention_mask)
        given = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        before = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        if context is not None:
            before = context.visible.sum(dim=1, keepdim=True)
        place = (before + visible.cumsum(dim=1) - 1).clamp(min=0)
        # Behind what is shared, the branches beside each other; the last token of each needn't be read.
        told, spoken = branches[:, :, :-1], branch_mask[:, :, :-1].bool()
        ahead = before + visible.sum(dim=1, keepdim=True)
        places = (ahead[..., None] + torch.arange(length - 1, device=device)).expand(batch, count, length - 1)
        owner = torch.arange(count, device=device).repeat_interleave(length - 1)
        owner = torch.cat([owner.new_full((size,), -1), owner])
        order = torch.arange(len(owner), device=device)
        allowed = ((owner == owner[:, None]) | (owner == -1)) & (order <= order[:, None])
        allowed = allowed.expand(batch, 1, -1, -1)
        if context is not None:
            seen = context.visible[:, None, None].expand(-1, 1, len(owner), -1)
            allowed = torch.cat([seen, allowed], dim=-1)
        read = (
            torch.cat([embeds, self.llm.get_input_embeddings()(told.flatten(1))], dim=1),
            functional.pad(is_video, (0, count * (length - 1))),
            torch.cat([visible, spoken.flatten(1)], dim=1),
        )
        slots = None if is_slot is None else functional.pad(is_slot, (0, count * (length - 1)))
        # Where logits are wanted: at the end of what is shared, before its labelled tokens, and along the branches.
        rows, last = _last(given)
        kept = torch.zeros_like(input_ids, dtype=torch.bool) if labelled is None else labelled.bool()
        own_rows, own_columns = kept.nonzero(as_tuple=True)
        next_rows, branch, step = branch_mask[:, :, 1:].nonzero(as_tuple=True)
        columns = torch.cat([last, own_columns - 1, size + branch * (length - 1) + step])
        positions = torch.cat([rows, own_rows, next_rows]), columns
        all_places = torch.cat([place, places.flatten(1)], dim=1)
        logits, _ = self._run(read, slots, allowed, all_places, context, positions, keep=False)
        logits = logits.float()
        sizes = [len(last), len(own_rows), len(next_rows)]
        first, own, rest = torch.split(logits, sizes)
        first_sum, own_sum, rest_sum = torch.split(logits.logsumexp(dim=-1, keepdim=True), sizes)
        shared = torch.zeros(input_ids.shape, device=device)
        shared[own_rows, own_columns] = (own_sum - own.gather(1, input_ids[own_rows, own_columns, None]))[:, 0]
        nll = torch.zeros(branches.shape, device=device)
        nll[:, :, 0] = (first_sum - first.gather(1, branches[:, :, 0])) * branch_mask[:, :, 0]
        nll[next_rows, branch, step + 1] = (rest_sum - rest.gather(1, branches[next_rows, branch, step + 1, None]))[
            :, 0
        ]
        return shared, nll

    @torch.no_grad()
    def attention_to_frames(
        self, input_ids: Tensor, columns: Tensor, *, frames: Tensor, frame_valid: Tensor, is_slot: Tensor
    ) -> Tensor:
        """How much the tokens at some positions attend to each frame: float32 [layers, h, N, T], shares of what a token
        gives to all that it reads, the k tokens of a frame added up; 0 for a frame that isn't valid or has no slot.

        These are the language model's own weights, the video bias in them; the gated prompts aren't tokens, and have a
        softmax apart. A layer that a model skips isn't among the layers.

        input_ids: int64 [1, S]; columns: int64 [N]; frames, frame_valid, is_slot as in `forward`, of a batch of one.
        """
        watch = Watch(columns)
        read = self.embed(input_ids, frames, frame_valid, is_slot)
        rows = torch.zeros_like(columns)
        self._run(read, is_slot, None, None, None, (rows, columns), keep=False, watch=watch)
        weights = torch.stack([watch.weights[layer] for layer in sorted(watch.weights)])
        slots = weights[..., is_slot[0]]
        found = slots.view(*slots.shape[:-1], -1, self.projector.tokens_per_frame).sum(dim=-1)
        return functional.pad(found, (0, frames.shape[1] - found.shape[-1]))

    @property
    def device(self) -> torch.device:
        """Where inputs belong."""
        return self.projector.linear.weight.device

    def named_trainable(self) -> dict[str, nn.Parameter]:
        """Everything that trains, by name: the projector, and prompts, gates and video biases or LoRA's matrices."""
        own = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        inside = {f"lora.{name}": p for name, p in self.llm.named_parameters() if p.requires_grad}
        return own | inside

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What an optimiser gets."""
        return iter(self.named_trainable().values())

    def parameter_report(self) -> ParameterReport:
        """Trainable counts by part, and the frozen count."""
        parts: dict[str, int] = {}
        for name, parameter in self.named_trainable().items():
            words = name.split(".")
            part = "lora" if words[0] == "lora" else "projector" if "linear" in words else words[-1]
            parts[part] = parts.get(part, 0) + parameter.numel()
        every = itertools.chain(self.parameters(), self.llm.parameters())
        return ParameterReport(parts, sum(parameter.numel() for parameter in every if not parameter.requires_grad))

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """All trainable tensors by name, detached, and nothing frozen."""
        return {name: parameter.detach() for name, parameter in self.named_trainable().items()}

    def load_adapter_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over trained tensors. Raises ArtifactMismatch that lists every missing, unexpected or misshapen one."""
        own = self.adapter_state_dict()
        faults = [f"{name} is missing" for name in own if name not in state]
        faults += [f"{name} is unexpected" for name in state if name not in own]
        faults += [
            f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        if faults:
            raise ArtifactMismatch(
                f"the adapter's state doesn't fit this model: {'; '.join(faults)}. "
                "Load it with the language model and the sizes it was aligned with."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def embed(
        self,
        input_ids: Tensor,
        frames: Tensor | None = None,
        frame_valid: Tensor | None = None,
        is_slot: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the layers get: embeddings [B, S, H] with frames in their slots, is_video and visible, bool [B, S].

        Arguments as in `forward`. Raises UsageError for frames that don't fit the slots.
        """
        embeds = self.llm.get_input_embeddings()(input_ids)
        visible = torch.ones(input_ids.shape, dtype=torch.bool, device=input_ids.device)
        if attention_mask is not None and attention_mask.ndim == 2:
            visible = attention_mask.bool()
        if frames is None and is_slot is None:
            return embeds, torch.zeros_like(visible), visible
        if frames is None or is_slot is None:
            raise UsageError("video language model: frames and is_slot come together; found only one of them.")
        return self._fill(embeds, visible, frames, frame_valid, is_slot)

    @property
    def adapted_layers(self) -> dict[int, GatedPrompts]:
        """The prompts by the index of the layer they are in."""
        return {self._first_adapted + i: layer for i, layer in enumerate(self.prompts)}  # type: ignore[misc]

    def prompt_states(self) -> PromptStates | None:
        """Keys and values of the prompts by layer, for reading: computed once, and again when a prompt has changed.
        None where gradients are recorded, which must flow through them."""
        if torch.is_grad_enabled():
            return None
        table = self.llm.get_input_embeddings().weight
        # A change in place counts a tensor's version up; another tensor has another address.
        now = [(layer.prompt.data_ptr(), layer.prompt._version) for layer in self.adapted_layers.values()]
        if self._states[0] != (key := (now, table.dtype, table.device)):
            self._states = key, {}
        return self._states[1]

    def _run(
        self,
        read: tuple[Tensor, Tensor, Tensor],
        is_slot: Tensor | None,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        context: Context | None,
        positions: tuple[Tensor, Tensor] | None,
        *,
        keep: bool,
        watch: Watch | None = None,
    ) -> tuple[Tensor, Context | None]:
        """One pass of the LLM over what `embed` gave; the other arguments as in `forward`."""
        verify(self.llm)
        embeds, is_video, visible = read
        length = embeds.shape[1]
        own_visible = visible
        if context is not None:
            visible = torch.cat([context.visible, visible], dim=1)
            is_video = torch.cat([context.is_video, is_video], dim=1)
        mask, places = attention_mask, None
        if attention_mask is not None and attention_mask.ndim == 4:
            if position_ids is None:
                raise UsageError("video language model: a mask of pairs needs position_ids; found none.")
            mask = attention_mask & visible[:, None, None]
            known = position_ids
            if context is not None:
                known = torch.cat([context.visible.cumsum(dim=1) - 1, position_ids], dim=1)
            places = position_ids, known
        elif context is None and bool((own_visible[:, 1:] <= own_visible[:, :-1]).all()):
            # Only padding on the right, which causality hides from every token that is read: the fast path.
            mask = None
        else:
            mask = visible
            if position_ids is None:
                position_ids = (visible.cumsum(dim=1) - 1).clamp(min=0)[:, -length:]
        slots = torch.zeros_like(own_visible) if is_slot is None else is_slot
        has_video = bool(is_video.any())
        seen = is_video.cumsum(dim=1)[:, -length:] > 0
        call = Call(
            prompts=self.adapted_layers,
            after_video=seen & ~slots if has_video else None,
            is_video=is_video if has_video else None,
            positions=positions,
            places=places,
            states=self.prompt_states(),
            watch=watch,
        )
        cache = DynamicCache() if context is None else copy_cache(context.cache)
        logits = self.llm(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=position_ids,
            use_cache=keep or context is not None,
            video_adapter=call,
            **cache_argument(self.llm, cache if keep or context is not None else None),
        ).logits
        verify_reached(self.llm, call)
        if positions is not None:
            # A family whose head doesn't go through its base model (OPT) has computed all of them.
            logits = logits[0] if call.narrowed else logits[positions]
        return logits, Context(cache, visible, is_video, logits) if keep else None

    def _fill(
        self, embeds: Tensor, visible: Tensor, frames: Tensor, frame_valid: Tensor | None, is_slot: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Put the frames' tokens into their slots. Returns embeddings [B, S, H], is_video and visible, bool [B, S]."""
        tokens = self.projector(frames).to(embeds.dtype)
        valid = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        valid = valid if frame_valid is None else frame_valid
        valid = valid.repeat_interleave(self.projector.tokens_per_frame, dim=1)
        rank = is_slot.cumsum(dim=1)  # of a slot: which of the row's frame tokens it holds, from 1
        count = rank[:, -1:]
        unread = valid & (torch.arange(1, valid.shape[1] + 1, device=valid.device) > count)
        if bool((count > valid.shape[1]).any() | unread.any()):
            raise UsageError(
                f"video language model: found {count.flatten().tolist()} frame slots per row and {valid.shape[1]} "
                f"frame tokens, of which {valid.sum(dim=1).tolist()} are valid. Every valid frame needs "
                f"{self.projector.tokens_per_frame} slots, and every slot a frame."
            )
        rank = (rank - 1).clamp(min=0)
        tokens = tokens.gather(1, rank[..., None].expand(*rank.shape, embeds.shape[-1]))
        embeds = torch.where(is_slot[..., None], tokens, embeds)
        is_video = is_slot & valid.gather(1, rank)
        return embeds, is_video & visible, visible & (is_video | ~is_slot)


def trainable_count(
    width: int,
    layers: int,
    heads: int,
    *,
    feature_width: int = 768,
    frames: int = 10,
    prompt_length: int = 50,
    tokens_per_frame: int = 1,
) -> int:
    """How many parameters would train on an LLM of this shape: 9,742,336 for Llama-2 7B (4096, 32, 32)."""
    return layers * (prompt_length * width + 2 * heads) + width * (feature_width * tokens_per_frame + frames)


def _last(visible: Tensor) -> tuple[Tensor, Tensor]:
    """Rows, and the column of each row's last visible token: int64 [B] each."""
    columns = torch.arange(visible.shape[1], device=visible.device)
    return torch.arange(len(visible), device=visible.device), torch.where(visible, columns, -1).amax(dim=1)


def _aligned(context: Context, width: int) -> Context:
    """What each row has read, moved to the last of `width` columns."""
    batch, length = context.visible.shape
    cache = copy_cache(context.cache)
    if bool((context.visible[:, 1:] >= context.visible[:, :-1]).all()):  # it is at the right end already
        for layer in cached_layers(cache):
            layer.keys, layer.values = (_widened(kept, width, 2) for kept in (layer.keys, layer.values))
        visible, is_video = (_widened(kept, width, 1) for kept in (context.visible, context.is_video))
        return replace(context, cache=cache, visible=visible, is_video=is_video)
    # A stable sort puts what isn't visible first, and leaves the rest in order.
    order = functional.pad(context.visible.long().argsort(dim=1, stable=True), (max(0, width - length), 0))[:, -width:]
    column = torch.arange(width, device=context.visible.device)
    visible = column >= width - context.visible.sum(dim=1, keepdim=True)
    for layer in cached_layers(cache):
        heads, size = layer.keys.shape[1], layer.keys.shape[3]
        places = order[:, None, :, None].expand(batch, heads, width, size)
        layer.keys = layer.keys.gather(2, places)
        layer.values = layer.values.gather(2, places[..., :1].expand(*places.shape[:3], layer.values.shape[3]))
    return replace(context, cache=cache, visible=visible, is_video=context.is_video.gather(1, order) & visible)


def _widened(kept: Tensor, width: int, dim: int) -> Tensor:
    """The last `width` columns of a dimension, zeros before them where there are fewer; a view where there aren't."""
    length = kept.shape[dim]
    if width <= length:
        return kept.narrow(dim, length - width, width)
    return functional.pad(kept, (0, 0) * (kept.ndim - 1 - dim) + (width - length, 0))
