"""One pass of the model over a batch: logits where targets are predicted, and their loss."""

from __future__ import annotations

from torch import Tensor

from ..models.topa_model import VideoLanguageModel
from .data import Batch
from .loss import mean_nll


def loss_of(model: VideoLanguageModel, batch: Batch) -> Tensor:
    """Mean cross-entropy over the target tokens of the batch. Source: TOPA, section 3."""
    return mean_nll(logits_of(model, batch), batch.targets.to(model.device))


def logits_of(model: VideoLanguageModel, batch: Batch) -> Tensor:
    """float32 [N, V] where the targets are predicted, and nowhere else; what all rows begin with is read once."""
    # Checkpointed layers keep nothing, so there would be nothing to go on from.
    checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in model.llm.modules())
    shared = 0 if checkpointed else batch.shared
    device = model.device
    ids = batch.ids.to(device)
    logits: Tensor = model(
        ids[:, shared:],
        frames=batch.frames.to(device),
        frame_valid=batch.frame_valid.to(device),
        is_slot=batch.is_slot[:, shared:].to(device),
        attention_mask=batch.visible[:, shared:].to(device),
        context=model.begin(ids[:1, :shared], len(ids)) if shared else None,
        positions=(batch.rows.to(device), batch.columns.to(device) - shared),
    )
    return logits.float()
