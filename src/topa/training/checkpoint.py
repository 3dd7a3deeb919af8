"""Checkpoints of a training run: written beside, renamed, verified by hash; the last two are kept.

Written and read by `training.loop`. Only tensors and JSON: nothing that could execute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..core.artifacts import (
    Manifest,
    finish,
    move_folder,
    output_folder,
    read_manifest,
    remove_folder,
    write_atomically,
)
from ..core.errors import ArtifactError, OutputError
from ..core.progress import console

_KEEP = 2


def save(
    folder: Path, step: int, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, about: dict[str, Any]
) -> None:
    """Write `folder/step-NNNNNNNN`. Raises OutputError where it can't be written; older checkpoints stay."""
    tensors = {f"model.{name}": value.detach().contiguous() for name, value in parameters.items()}
    for name, value in parameters.items():
        for key, tensor in optimizer.state.get(value, {}).items():
            tensors[f"{key}.{name}"] = torch.as_tensor(tensor).detach().contiguous()
    beside, final = folder / ".unfinished", folder / f"step-{step:08d}"
    try:
        remove_folder(beside)
        output_folder(beside)
        # save_file's own errors are no OSErrors
        write_atomically(beside / "state.safetensors", to_bytes(tensors), "arrays")
        write_atomically(beside / "about.json", json.dumps({"step": step, **about}), "lines")
        finish(beside, Manifest(kind="checkpoint", counts={"step": step}), ["state.safetensors", "about.json"])
        remove_folder(final)
        move_folder(beside, final)
    except OutputError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise OutputError(
            f"{folder}: can't write a checkpoint ({reason}); earlier ones are kept. "
            "Free space and run the same command again."
        ) from error
    for old in sorted(folder.glob("step-*"))[:-_KEEP]:
        remove_folder(old)


def load(folder: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Load the newest intact checkpoint; return its `about`, or None where there is none.

    A damaged one is named on stderr and the one before it is used.
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            read_manifest(path, "checkpoint", verify=True)
        except ArtifactError as error:
            console.print(f"checkpoint left aside: {error}", style="yellow")
            continue
        tensors = load_file(path / "state.safetensors")
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(tensors.pop(f"model.{name}"))
        for key, tensor in tensors.items():
            kind, _, name = key.partition(".")
            optimizer.state[parameters[name]][kind] = tensor
        about: dict[str, Any] = json.loads((path / "about.json").read_bytes())
        return about
    return None
