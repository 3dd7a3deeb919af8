"""Projections that are kept on the disk, for runs that project the same videos again.

Reads features and a memory, writes a file for each set of videos; used by `training.finetune`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from ..core.artifacts import output_folder, write_atomically
from ..features.frames import FrameFeatures
from .bank import MemoryBank


def project_cached(
    memory: MemoryBank, videos: Sequence[FrameFeatures], temperature: float, folder: Path
) -> list[FrameFeatures]:
    """Project as `MemoryBank.project_all` does, or read the result from `folder`, where the same call left it.

    The file is named by a hash of memory, temperature and features; a damaged one is made again. Raises as
    `project_all` does, and OutputError where the file can't be written.
    """
    for video in videos:
        memory.expect(video)
    if not videos:
        return []
    path = folder / f"{_key(memory, videos, temperature)}.safetensors"
    values = _load(path)
    if values is None:
        values = torch.cat([one.features.values for one in memory.project_all(videos, temperature)])
        output_folder(folder)
        write_atomically(path, to_bytes({"values": values}), "arrays")
    parts = torch.split(values, [len(video) for video in videos])
    return [replace(video, values=own, space="projected") for video, own in zip(videos, parts, strict=True)]


def _key(memory: MemoryBank, videos: Sequence[FrameFeatures], temperature: float) -> str:
    identity = memory.hash or hashlib.sha256(memory.values.half().cpu().numpy().tobytes()).hexdigest()
    values, valid = torch.cat([video.values for video in videos]), torch.cat([video.valid for video in videos])
    digest = hashlib.sha256(f"{identity} {temperature} {tuple(values.shape)}".encode())
    digest.update(values.numpy().tobytes() + valid.numpy().tobytes())
    return digest.hexdigest()[:32]


def _load(path: Path) -> Tensor | None:
    """Read the file; None where there is none, or it is damaged."""
    try:
        return load_file(path)["values"]
    except (OSError, SafetensorError, KeyError):
        return None
