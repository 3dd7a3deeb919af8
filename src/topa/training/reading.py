"""One pass of the model over a batch: logits where targets are predicted, and their loss."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from ..models.compat import recomputes_layers
from ..models.inputs import ModelInputs
from ..models.topa_model import VideoLanguageModel
from .data import PromptBatch
from .loss import mean_nll


def compute_loss(model: VideoLanguageModel, batch: PromptBatch) -> Tensor:
    """Compute the mean cross-entropy over the target tokens of a batch. Source: TOPA, section 3."""
    return mean_nll(compute_logits(model, batch), batch.targets.to(model.device))


def compute_logits(model: VideoLanguageModel, batch: PromptBatch) -> Tensor:
    """Compute logits, float32 [N, V], where targets are predicted only; what all rows begin with is read once."""
    shared = batch.shared if _goes_on(model) else 0
    device = model.device
    ids = batch.ids.to(device)
    logits: Tensor = model(
        ModelInputs(
            ids[:, shared:],
            batch.frames.to(device),
            batch.frame_valid.to(device),
            batch.is_slot[:, shared:].to(device),
            batch.visible[:, shared:].to(device),
        ),
        cache=model.prefill_shared(ids[:1, :shared], len(ids)) if shared else None,
        positions=(batch.rows.to(device), batch.columns.to(device) - shared),
    )
    return logits.float()


def _goes_on(model: VideoLanguageModel) -> bool:
    """Return whether a shared prefix can be read first, with gradients: layers that are checkpointed keep nothing,
    those that are spread over processes are gathered again only for what they gave, not for keys and values, and those
    that are compiled would be so for every length of it."""
    return not recomputes_layers(model.llm) and not any(
        isinstance(module, FSDPModule) or module._compiled_call_impl is not None for module in model.llm.modules()
    )
