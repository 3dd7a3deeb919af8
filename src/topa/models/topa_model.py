"""A frozen language model that reads videos: the LLM, gated prompts in its layers and the frame projector.

Reads token ids and frame features in text space, writes logits, a `KVCache` to go on from, or tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from ..core.errors import ArtifactMismatch, UsageError
from .adapter import GatedPrompts
from .attention import AdapterCall, AttentionTrace, PromptStates, attach, verify, verify_reached
from .compat import DynamicCache, cache_argument, copy_cache
from .inputs import Embeddings, ModelInputs
from .kv_cache import KVCache
from .lora import add_lora
from .projector import FrameProjector
from .tree_attention import branch_out


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
        self, inputs: ModelInputs, *, cache: KVCache | None = None, positions: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Compute logits of the next token at every position, or at `positions` only.

        cache: what was read before, unchanged by this. positions: rows and columns, int64 [N] each; the head runs there
        only. Returns [B, S, V], or [N, V]; logits at padding mean nothing. Raises UsageError for frames that don't fit
        the slots, and where the LLM's attention implementation was changed behind the adapter's back.
        """
        return self._run(self.embed(inputs), cache, positions)[0]

    @torch.no_grad()
    def prefill(self, inputs: ModelInputs, cache: KVCache | None = None) -> KVCache:
        """Read a batch, after what a cache holds of it, and return the longer cache.

        inputs: with a mask [B, S]. Every row must have a visible token; padding may be on either side.
        """
        extended = self._run(self.embed(inputs), cache, inputs.last_tokens(), keep=True)[1]
        assert extended is not None
        return extended

    def prefill_shared(self, input_ids: Tensor, rows: int) -> KVCache:
        """Read the tokens that all rows of a batch begin with once: int64 [1, S], no frames among them.

        Unlike after `prefill`, gradients flow back through it, so that training may go on from it.
        """
        inputs = ModelInputs(input_ids)
        cache = self._run(self.embed(inputs), None, inputs.last_tokens(), keep=True)[1]
        assert cache is not None
        return cache.repeat(rows)

    @torch.no_grad()
    def greedy(
        self, cache: KVCache, max_new_tokens: int, eos: int | Sequence[int] = (), banned: Sequence[int] = ()
    ) -> list[list[int]]:
        """Return the most likely continuation of each row, token by token, at most `max_new_tokens` of them.

        eos: id or ids that end a row and aren't part of it. banned: ids that are never chosen.
        """
        device, rows = cache.visible.device, len(cache.visible)
        ends = torch.tensor([eos] if isinstance(eos, int) else list(eos), device=device)
        forbidden = torch.tensor(list(banned), dtype=torch.int64, device=device)
        steps: list[Tensor] = []
        running = torch.ones(rows, dtype=torch.bool, device=device)
        for step in range(max_new_tokens):
            token = cache.next_logits.index_fill(1, forbidden, -torch.inf).argmax(dim=-1)
            running = running & ~torch.isin(token, ends)
            steps.append(torch.where(running, token, -1))
            if step + 1 == max_new_tokens or not running.any():
                break
            cache = self.prefill(ModelInputs(token[:, None]), cache)
        tokens = torch.stack(steps, dim=1).tolist() if steps else [[] for _ in range(rows)]
        return [[token for token in row if token >= 0] for row in tokens]

    @torch.no_grad()
    def score_continuations(
        self,
        inputs: ModelInputs,
        continuations: Tensor,
        continuation_mask: Tensor,
        *,
        labelled: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute the negative log-likelihood of N continuations of each row, which is read once, in one pass.

        inputs: what the continuations of a row share, with a mask [B, S]. continuations: int64 [B, N, L];
        continuation_mask: bool [B, N, L], False for padding on the right. labelled: bool [B, S], shared tokens whose
        likelihood is wanted as well; each has another one before it. Returns float32 [B, S], 0 where not labelled, and
        [B, N, L], 0 where masked: those of full forwards over row and continuation.
        """
        ids, length = inputs.input_ids, continuations.shape[2]
        # The last token of each needn't be read.
        branches = self.llm.get_input_embeddings()(continuations[:, :, :-1].flatten(1))
        cached = None if cache is None else cache.visible
        tree = branch_out(self.embed(inputs), branches, continuation_mask[:, :, :-1].bool(), cached)
        # Where logits are wanted: at the end of what is shared, before its labelled tokens, and along the branches.
        rows, last = inputs.last_tokens()
        is_labelled = torch.zeros_like(ids, dtype=torch.bool) if labelled is None else labelled.bool()
        own_rows, own_columns = is_labelled.nonzero(as_tuple=True)
        next_rows, branch, step = continuation_mask[:, :, 1:].nonzero(as_tuple=True)
        columns = torch.cat([last, own_columns - 1, ids.shape[1] + branch * (length - 1) + step])
        logits = self._run(tree, cache, (torch.cat([rows, own_rows, next_rows]), columns))[0].float()
        sizes = [len(last), len(own_rows), len(next_rows)]
        first, own, rest = torch.split(logits, sizes)
        first_sum, own_sum, rest_sum = torch.split(logits.logsumexp(dim=-1, keepdim=True), sizes)
        shared = torch.zeros(ids.shape, device=ids.device)
        shared[own_rows, own_columns] = (own_sum - own.gather(1, ids[own_rows, own_columns, None]))[:, 0]
        nll = torch.zeros(continuations.shape, device=ids.device)
        nll[:, :, 0] = (first_sum - first.gather(1, continuations[:, :, 0])) * continuation_mask[:, :, 0]
        targets = continuations[next_rows, branch, step + 1, None]
        nll[next_rows, branch, step + 1] = (rest_sum - rest.gather(1, targets))[:, 0]
        return shared, nll

    @torch.no_grad()
    def attention_to_frames(self, inputs: ModelInputs, columns: Tensor) -> Tensor:
        """Measure how much the tokens at some positions attend to each frame.

        inputs: a batch of one, with frames. columns: int64 [N], the positions. Returns float32 [layers, h, N, T],
        shares of what a token gives to all that it reads, the k tokens of a frame added up; 0 for a frame that isn't
        valid or has no slot. These are the language model's own weights, the video bias in them; the gated prompts
        aren't tokens, and have a softmax apart. A layer that a model skips isn't among the layers.
        """
        assert inputs.frames is not None
        assert inputs.is_slot is not None
        trace = AttentionTrace(columns)
        self._run(self.embed(inputs), None, (torch.zeros_like(columns), columns), trace=trace)
        weights = torch.stack([trace.weights[layer] for layer in sorted(trace.weights)])
        slots = weights[..., inputs.is_slot[0]]
        shares = slots.view(*slots.shape[:-1], -1, self.projector.tokens_per_frame).sum(dim=-1)
        return functional.pad(shares, (0, inputs.frames.shape[1] - shares.shape[-1]))

    @property
    def device(self) -> torch.device:
        """The device of inputs."""
        return self.projector.linear.weight.device

    def named_trainable(self) -> dict[str, nn.Parameter]:
        """Return what trains, by name: the projector, and prompts, gates and video biases or LoRA's matrices."""
        own = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        inside = {f"lora.{name}": p for name, p in self.llm.named_parameters() if p.requires_grad}
        return own | inside

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters for an optimiser."""
        return iter(self.named_trainable().values())

    def parameter_report(self) -> ParameterReport:
        """Count trainable parameters by part, and frozen ones."""
        parts: dict[str, int] = {}
        for name, parameter in self.named_trainable().items():
            words = name.split(".")
            part = "lora" if words[0] == "lora" else "projector" if "linear" in words else words[-1]
            parts[part] = parts.get(part, 0) + parameter.numel()
        every = itertools.chain(self.parameters(), self.llm.parameters())
        return ParameterReport(parts, sum(parameter.numel() for parameter in every if not parameter.requires_grad))

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """Return all trainable tensors by name, detached, and nothing frozen."""
        return {name: parameter.detach() for name, parameter in self.named_trainable().items()}

    def load_adapter_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load trained tensors. Raises ArtifactMismatch that lists every missing, unexpected or misshapen one."""
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

    def embed(self, inputs: ModelInputs) -> Embeddings:
        """Look up the tokens, and put the frames into their slots. Raises UsageError for frames that don't fit."""
        values = self.llm.get_input_embeddings()(inputs.input_ids)
        visible = torch.ones_like(inputs.input_ids, dtype=torch.bool)
        mask = inputs.attention_mask
        if mask is not None and mask.ndim == 2:
            visible, mask = mask.bool(), None
        if inputs.frames is None and inputs.is_slot is None:
            nowhere = torch.zeros_like(visible)
            return Embeddings(values, nowhere, visible, nowhere, mask, inputs.position_ids)
        if inputs.frames is None or inputs.is_slot is None:
            raise UsageError("video language model: frames and is_slot come together; found only one of them.")
        values, is_video = self._put_frames(values, inputs.frames, inputs.frame_valid, inputs.is_slot)
        readable = visible & (is_video | ~inputs.is_slot)
        return Embeddings(values, is_video & visible, readable, inputs.is_slot, mask, inputs.position_ids)

    @property
    def adapted_layers(self) -> dict[int, GatedPrompts]:
        """The prompts by the index of the layer they are in."""
        return {self._first_adapted + i: layer for i, layer in enumerate(self.prompts)}  # type: ignore[misc]

    def prompt_states(self) -> PromptStates | None:
        """Return keys and values of the prompts by layer: computed once, and again when a prompt has changed.
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
        embedded: Embeddings,
        cache: KVCache | None,
        positions: tuple[Tensor, Tensor] | None,
        *,
        keep: bool = False,
        trace: AttentionTrace | None = None,
    ) -> tuple[Tensor, KVCache | None]:
        """Run the LLM once. Returns logits as `forward` does, and with `keep` the longer cache."""
        verify(self.llm)
        visible, is_video = embedded.visible, embedded.is_video
        if cache is not None:
            visible = torch.cat([cache.visible, visible], dim=1)
            is_video = torch.cat([cache.is_video, is_video], dim=1)
        mask, position_ids, pair_positions = _mask_and_positions(embedded, visible, cache)
        has_video = bool(is_video.any())
        after_frame = is_video.cumsum(dim=1)[:, -embedded.values.shape[1] :] > 0
        call = AdapterCall(
            prompts=self.adapted_layers,
            after_video=after_frame & ~embedded.is_slot if has_video else None,
            is_video=is_video if has_video else None,
            positions=positions,
            pair_positions=pair_positions,
            states=self.prompt_states(),
            trace=trace,
        )
        states = DynamicCache() if cache is None else copy_cache(cache.states)
        use_cache = keep or cache is not None
        logits = self.llm(
            inputs_embeds=embedded.values,
            attention_mask=mask,
            position_ids=position_ids,
            use_cache=use_cache,
            video_adapter=call,
            **cache_argument(self.llm, states if use_cache else None),
        ).logits
        verify_reached(self.llm, call)
        if positions is not None:
            # A family whose head doesn't go through its base model (OPT) has computed all of them.
            logits = logits[0] if call.narrowed else logits[positions]
        return logits, KVCache(states, visible, is_video, logits) if keep else None

    def _put_frames(
        self, embeds: Tensor, frames: Tensor, frame_valid: Tensor | None, is_slot: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Put the frames' tokens into their slots. Returns embeddings [B, S, H], and is_video bool [B, S]."""
        tokens = self.projector(frames).to(embeds.dtype)
        valid = frame_valid
        if valid is None:
            valid = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
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
        return torch.where(is_slot[..., None], tokens, embeds), is_slot & valid.gather(1, rank)


def _mask_and_positions(
    embedded: Embeddings, visible: Tensor, cache: KVCache | None
) -> tuple[Tensor | None, Tensor | None, tuple[Tensor, Tensor] | None]:
    """Return the LLM's mask and position ids, and for a mask of pairs the positions of queries and keys.

    visible: bool [B, K + S], of what was read before as well.
    """
    position_ids = embedded.position_ids
    if embedded.mask is not None:
        if position_ids is None:
            raise UsageError("video language model: a mask of pairs needs position_ids; found none.")
        keys = position_ids
        if cache is not None:
            keys = torch.cat([cache.visible.cumsum(dim=1) - 1, position_ids], dim=1)
        return embedded.mask & visible[:, None, None], position_ids, (position_ids, keys)
    if cache is None and bool((embedded.visible[:, 1:] <= embedded.visible[:, :-1]).all()):
        # Only padding on the right, which causality hides from every token that is read: the fast path.
        return None, position_ids, None
    if position_ids is None:
        position_ids = (visible.cumsum(dim=1) - 1).clamp(min=0)[:, -embedded.values.shape[1] :]
    return visible, position_ids, None


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
    """Count the parameters that would train on an LLM of this shape: 9,742,336 for Llama-2 7B (4096, 32, 32)."""
    return layers * (prompt_length * width + 2 * heads) + width * (feature_width * tokens_per_frame + frames)
