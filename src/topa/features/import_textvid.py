"""TextVid as TOPA's authors published it, brought in: the verb behind `topa import textvid`.

Without features, nothing here loads torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..core.artifacts import output_folder, remove, write_atomically
from ..core.embedded import PAPER_ENCODER
from ..core.errors import InputError
from ..tideos.assemble import TIDEOS
from ..tideos.drop_counts import DropCounts
from ..tideos.jsonl import write_jsonl
from ..tideos.textvid import read_textvid

LEFT_OUT = "left-out.json"
FEATURES = "features"


@dataclass(frozen=True, slots=True)
class Imported:
    """tideos: how many, in `out/tideos.jsonl`. left_out: what is not in it, or not whole, by reason."""

    tideos: int
    left_out: DropCounts


def import_textvid(path: Path, out: Path, features: Path | None = None, encoder: str = PAPER_ENCODER) -> Imported:
    """Import TextVid as `out/tideos.jsonl`, `out/left-out.json` and, from a folder of `IDX.pkl`, the store
    `out/features`.

    With features, Tideos that have none are left out, so that the two fit each other.
    Raises InputError where nothing can be used, OutputError where `out` can't be written.
    """
    output_folder(out, TIDEOS, LEFT_OUT, *_store_files(features))
    tally = DropCounts()
    tideos = read_textvid(path, tally)
    if features is None:
        number = write_jsonl(tideos, out / TIDEOS)
    else:
        from .textvid import import_features

        number = len(import_features(tideos, features, out / FEATURES, encoder, tally, also=out / TIDEOS))
    if not number:
        remove(out / TIDEOS)
        reasons = "; ".join(tally.lines()) or "the list is empty"
        raise InputError(f"{path}: found no Tideo that can be used: {reasons}. Give the published textvid.json.")
    write_atomically(out / LEFT_OUT, json.dumps(tally.as_json(), ensure_ascii=False, indent=1) + "\n")
    return Imported(number, tally)


def _store_files(features: Path | None) -> list[str]:
    if features is None:
        return []
    from .store import FILES

    return [f"{FEATURES}/{name}" for name in FILES]
