"""Makes a frozen language model ready to train under: how it is kept in memory, and how its layers run.

Called once, by the stages before `training.loop`, when adapter and warm start are in place.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..core.errors import UsageError
from ..core.processes import Processes
from ..models.compat import checkpoint_layers, decoder_layers
from ..models.topa_model import VideoLanguageModel
from .config import TrainConfig


def dtype_for(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Return the type of the frozen weights. Raises UsageError for half precision on a CPU, which has no fast one."""
    if device.type == "cpu":
        if config.precision == "bfloat16":
            raise UsageError(
                "precision 'bfloat16': found a CPU, where it is many times slower than float32; expected a GPU. "
                "Leave it out, or give --set precision=float32"
            )
        return torch.float32
    return torch.float32 if config.precision == "float32" else torch.bfloat16


def prepare(model: VideoLanguageModel, config: TrainConfig, processes: Processes) -> VideoLanguageModel:
    """Shard, checkpoint and compile the layers of the language model in place, as configured."""
    layers = decoder_layers(model.llm)
    if config.checkpointing:
        _checkpoint(model.llm, layers)
    if config.sharded and processes.of > 1:
        _shard(model, layers, processes)
    if config.compiled:
        # Each layer is compiled for its own number, and for batches of one row and of more.
        torch._dynamo.config.recompile_limit = 4 * len(layers)
        for layer in layers:
            layer.compile(dynamic=True)
    return model


@contextmanager
def for_reading(model: VideoLanguageModel) -> Iterator[None]:
    """While it is entered, checkpointed layers keep keys and values, without which nothing can be gone on from, and
    compiled ones run as they were written: compiling them for every length of a cache would take longer."""
    training = [layer for layer in decoder_layers(model.llm) if layer.training]
    for layer in training:
        layer.training = False
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for layer in training:
            layer.training = True


def _checkpoint(llm: PreTrainedModel, layers: list[nn.Module]) -> None:
    """transformers computes layers again only in training mode. What else that mode does, dropout, stays off: the
    language model is frozen, and a draw from the global generator would make runs differ."""
    checkpoint_layers(llm)
    for layer in layers:
        layer.training = True
        for name in ("dropout", "activation_dropout"):
            if isinstance(getattr(layer, name, None), float):
                setattr(layer, name, 0.0)


def _shard(model: VideoLanguageModel, layers: list[nn.Module], processes: Processes) -> None:
    """FSDP for what is frozen: each process holds a share of every layer, and gathers a layer while it runs. What lies
    outside the layers stays whole everywhere: the adapter reads the embeddings directly."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # The wanted positions leave the base model as a view, which nobody changes in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(processes.device.type, (processes.of,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    inside = {parameter for layer in layers for parameter in layer.parameters()}
    base = model.llm.base_model
    fully_shard(base, mesh=mesh, ignored_params=set(base.parameters()) - inside)  # so that layers come ahead of use
    _move_rest(model, processes.device)


def _move_rest(model: VideoLanguageModel, device: torch.device) -> None:
    from torch.distributed.tensor import DTensor

    def move(tensor: torch.Tensor) -> Any:
        return tensor if isinstance(tensor, DTensor) else tensor.to(device)

    model.llm._apply(move)
    nn.Module._apply(model, move)  # type: ignore[no-untyped-call]
