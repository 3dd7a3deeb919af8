"""A warm start for the projector: the linear map that best turns a caption's feature into the LLM's own words.

Reads captions, their text features and the LLM's input embeddings; writes the projector's weights before `align`
begins. Text only and in closed form. Not in the paper: a wide LLM does without, a narrow one learns to read in
seconds instead of not at all (docs/log.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.errors import InputError
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter

_RIDGE = 1e-4


@torch.no_grad()
def warm_start(
    model: VideoLanguageModel, prompter: Prompter, captions: Sequence[str], values: Tensor, strength: float
) -> float:
    """Set projector and temporal vectors. Returns the share of variance of the targets that the map explains.

    values: float32 [N, D], the feature of each of the N captions. A caption's target is the sum of the embeddings of
    its tokens, each weighted by log(N / captions with that token), so that words of all captions drop out; it is as
    long as `strength` embeddings of unrelated words are when drawn together. Every token of a frame gets the same
    map. Frame slot i starts at the embedding of the number i + 1.
    Raises InputError where captions and features don't pair, and where all captions have the same words.
    """
    if len(captions) != len(values) or not len(captions):
        raise InputError(f"warm start: found {len(captions)} captions and {len(values)} features; expected pairs.")
    table = model.llm.get_input_embeddings().weight.float()
    token_ids = [prompter.encode(caption) for caption in captions]
    frequency = Counter(token for ids in token_ids for token in set(ids))
    rarity = torch.zeros(len(table), device=table.device)
    for token, count in frequency.items():
        rarity[token] = torch.log(torch.tensor(len(token_ids) / count))
    targets = torch.zeros(len(token_ids), table.shape[1], device=table.device)
    for row, ids in enumerate(token_ids):
        tokens = torch.tensor(ids, device=table.device)
        weights = rarity[tokens]
        targets[row] = strength * (weights @ table[tokens]) / weights.norm().clamp(min=1e-6)
    whole = float((targets - targets.mean(0)).square().sum())
    if not whole:
        raise InputError(
            f"warm start: found {len(captions)} captions, all of the same words; expected some that differ. "
            "Give more Tideos, or go without: --set warm_start=0"
        )
    values = values.to(table)
    gram = values.T @ values
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=table.device)
    mapped = torch.linalg.solve(gram + ridge, values.T @ targets)  # [D, H]
    projector = model.projector
    projector.linear.weight.copy_(mapped.T.repeat(projector.tokens_per_frame, 1))
    for slot in range(len(projector.temporal)):
        number = torch.tensor(prompter.encode(str(slot + 1)), device=table.device)
        projector.temporal[slot] = table[number].mean(0)
    return 1 - float((values @ mapped - targets).square().sum()) / whole
