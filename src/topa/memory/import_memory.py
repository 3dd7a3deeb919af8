"""The memory that TOPA's authors published, brought in: the verb behind `topa import memory`."""

from __future__ import annotations

from pathlib import Path

from torch.nn.functional import normalize

from ..core.artifacts import output_folder
from ..core.embedded import PAPER_ENCODER
from ..features.textvid import read_tensor
from .bank import FILES, MemoryBank


def import_memory(path: Path, out: Path, encoder: str = PAPER_ENCODER) -> int:
    """Import the published `memory.pkl` as a memory without captions; return the number of its rows.

    Raises InputError where the file is no tensor of features, OutputError where `out` can't be written.
    """
    output_folder(out, *FILES)
    rows = read_tensor(path)
    MemoryBank(normalize(rows, dim=-1), encoder).save(out)
    return len(rows)
