"""What decides the predictions of an evaluation: its settings, and hashes of what they are applied to."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from ..core.artifacts import own_version, sha256
from ..core.config_diff import config_diff
from ..core.errors import ArtifactError, UsageError
from ..memory.bank import MemoryBank
from ..models import saved
from ..models.saved import SavedConfig
from .example import Example


def hashes_of(folder: Path, config: SavedConfig, examples: Sequence[Example]) -> dict[str, str]:
    """Return hashes of the records, and of the model in `folder`."""
    digest = hashlib.sha256()
    for e in examples:
        digest.update(repr((e.id, e.question, e.options, e.answer, e.references, e.start, e.end, e.fault)).encode())
    hashes = {
        "records": digest.hexdigest()[:16],
        "adapter": sha256(folder / saved.ADAPTER)[:16],
        "encoder": config.encoder_identity,
        "language model": config.llm,
    }
    return hashes if config.bridge == "raw" else {**hashes, "memory": MemoryBank.load(folder).hash[:16]}


def expect_same(path: Path, expected: Mapping[str, Any]) -> None:
    """Refuse a folder whose `path` says that it holds another evaluation."""
    if path.is_file():
        try:
            before = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path}: can't be read ({error}). Name another folder with --out.") from error
        if other := config_diff(expected, before):
            raise UsageError(
                f"{path.parent}: holds another evaluation: {other}. Give the same options as before, or another "
                "folder with --out."
            )


def versions() -> dict[str, str]:
    """Return the versions of the software that answers."""
    return {
        "topa": own_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
