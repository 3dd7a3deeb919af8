"""The same mathematics computed the way the released code computes it: the baseline of `run.py`.

Padded to a maximum, an S x S mask, logits everywhere, one full pass per option, no cache, the whole similarity
matrix. Written from the description of the algorithm, on the weights of a `VideoLanguageModel` over a Llama.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from topa.models import VideoLanguageModel
from topa.prompts.prompt import Prompt


def padded(prompts: Sequence[Prompt], length: int) -> tuple[Tensor, Tensor]:
    """Return ids and labels, int64 [B, length], padded with 0 as the released code pads; what isn't scored is 0."""
    ids, labels = torch.zeros(2, len(prompts), length, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt.ids)
        labels[row, slice(*prompt.target)] = torch.tensor(prompt.ids[slice(*prompt.target)])
    return ids, labels


class Naive:
    """A Llama with gated prompts, read straight from the weights of `model`; every call computes everything."""

    def __init__(self, model: VideoLanguageModel) -> None:
        self.model = model
        self.config = model.llm.config
        self.layers = model.llm.model.layers
        base = self.config.rope_parameters["rope_theta"]
        dim = self.config.hidden_size // self.config.num_attention_heads
        self.frequencies = 1 / base ** (torch.arange(0, dim, 2).float() / dim)

    def logits(self, ids: Tensor, frames: Tensor, video_start: int) -> Tensor:
        """All logits [B, S, V]; ids [B, S] are padded with 0, frames [B, T, D] go to video_start."""
        llm, count = self.model.llm.model, frames.shape[1]
        hidden = llm.embed_tokens(ids)
        hidden = hidden.clone()
        hidden[:, video_start : video_start + count] = self.model.projector(frames)
        length = ids.shape[1]
        mask = torch.full((1, 1, length, length), -torch.inf).triu(1)
        angles = torch.arange(length).float()[:, None] * self.frequencies
        turn = torch.polar(torch.ones_like(angles), angles)
        for layer, prompts in zip(self.layers, self.model.prompts, strict=True):
            hidden = hidden + self._attention(layer, prompts, hidden, mask, turn, video_start, count)
            normed = layer.post_attention_layernorm(hidden)
            gated = F.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed)
            hidden = hidden + layer.mlp.down_proj(gated)
        return self.model.llm.lm_head(llm.norm(hidden)).float()

    def _attention(
        self, layer: torch.nn.Module, prompts: torch.nn.Module, hidden: Tensor, mask: Tensor, turn: Tensor,
        video_start: int, count: int,
    ) -> Tensor:  # fmt: skip
        own, heads = layer.self_attn, self.config.num_attention_heads
        batch, length, width = hidden.shape
        dim = width // heads
        normed = layer.input_layernorm(hidden)

        def split(x: Tensor) -> Tensor:
            return x.view(x.shape[0], -1, heads, dim).transpose(1, 2)

        query, key, value = (split(p(normed)) for p in (own.q_proj, own.k_proj, own.v_proj))
        query, key = _rotate(query, turn), _rotate(key, turn)
        prompt = prompts.prompt[None]
        prompt_key, prompt_value = (split(p(prompt)).repeat(batch, 1, 1, 1) for p in (own.k_proj, own.v_proj))
        scores = query @ key.transpose(2, 3) / dim**0.5 + mask
        scores = scores.clone()
        behind = video_start + count
        scores[:, :, behind:, video_start:behind] = (
            scores[:, :, behind:, video_start:behind] + prompts.video_bias[:, None, None]
        )
        out = F.softmax(scores.float(), dim=-1) @ value
        beside = F.softmax((query @ prompt_key.transpose(2, 3) / dim**0.5).float(), dim=-1)
        out = out + torch.tanh(prompts.gate)[:, None, None] * beside @ prompt_value
        return own.o_proj(out.transpose(1, 2).reshape(batch, length, width))

    def loss(self, ids: Tensor, labels: Tensor, frames: Tensor, video_start: int) -> Tensor:
        """Mean cross-entropy where labels aren't 0, of logits at all positions."""
        logits = self.logits(ids, frames, video_start)
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=0)

    @torch.no_grad()
    def option_nll(self, ids: Tensor, labels: Tensor, frames: Tensor, video_start: int) -> Tensor:
        """Mean NLL per option [options]: one full forward each. ids, labels: [options, S], frames [1, T, D]."""
        means = []
        for row, label in zip(ids, labels, strict=True):
            logits = self.logits(row[None], frames, video_start)[0, :-1]
            nll = F.cross_entropy(logits, label[1:], ignore_index=0, reduction="none")
            means.append(nll.sum() / label[1:].ne(0).sum())
        return torch.stack(means)

    @torch.no_grad()
    def generate(self, ids: Tensor, frames: Tensor, video_start: int, steps: int) -> list[int]:
        """Greedy tokens of one prompt [1, S]: everything again for each of them."""
        tokens: list[int] = []
        for _ in range(steps):
            token = self.logits(ids, frames, video_start)[:, -1].argmax(-1)
            tokens.append(int(token))
            ids = torch.cat([ids, token[:, None]], dim=1)
        return tokens


def project(frames: Tensor, memory: Tensor, temperature: float = 0.01) -> Tensor:
    """The whole matrix of similarities to the memory in full precision."""
    weights = F.softmax(frames @ memory.T / temperature, dim=-1)
    mean = weights @ memory
    return mean / mean.norm(dim=-1, keepdim=True)


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    pairs = torch.complex(x[..., :half].float(), x[..., half:].float()) * turn
    return torch.cat([pairs.real, pairs.imag], dim=-1).type_as(x)
