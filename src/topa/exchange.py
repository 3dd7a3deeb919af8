"""Tideos from files and to files: what TOPA's authors published, brought in; and what is fit for training.

Used by `topa import` and `topa clean`. Without features, nothing here loads torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .core.artifacts import output_folder, remove, write_atomically
from .core.errors import AllFailed, InputError
from .tideos.assemble import FILES as SET
from .tideos.assemble import TIDEOS, assemble
from .tideos.jsonl import read_jsonl, write_jsonl
from .tideos.quality import Checks, Report
from .tideos.tally import Tally
from .tideos.textvid import read_textvid

LEFT_OUT = "left-out.json"
FEATURES = "features"
ENCODER = "openai/clip-vit-large-patch14"


@dataclass(frozen=True, slots=True)
class Imported:
    """tideos: how many, in `out/tideos.jsonl`. left_out: what is not in it, or not whole, by reason."""

    tideos: int
    left_out: Tally


def import_textvid(path: Path, out: Path, features: Path | None = None, encoder: str = ENCODER) -> Imported:
    """TextVid as `out/tideos.jsonl`, `out/left-out.json` and, from a folder of `IDX.pkl`, the store `out/features`.

    With features, Tideos that have none are left out, so that the two fit each other.
    Raises InputError where nothing can be used, OutputError where `out` can't be written.
    """
    output_folder(out, TIDEOS, LEFT_OUT, *_store_files(features))
    tally = Tally()
    tideos = read_textvid(path, tally)
    if features is None:
        number = write_jsonl(tideos, out / TIDEOS)
    else:
        from .features.textvid import import_features

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
    from .features.store import FILES

    return [f"{FEATURES}/{name}" for name in FILES]


def import_memory(path: Path, out: Path, encoder: str = ENCODER) -> int:
    """The published `memory.pkl` as a memory without captions; gives its rows.

    Raises InputError where the file is no tensor of features, OutputError where `out` can't be written.
    """
    from torch.nn.functional import normalize

    from .features.textvid import read_tensor
    from .memory.bank import FILES, MemoryBank

    output_folder(out, *FILES)
    rows = read_tensor(path)
    MemoryBank(normalize(rows, dim=-1), encoder).save(out)
    return len(rows)


def clean_tideos(path: Path, out: Path, seed: int, near: float) -> Report:
    """The Tideos of a file that are kept as a set in `out`: `tideos.jsonl`, `quality.json`, its card, a manifest.

    Raises AllFailed where none is kept, InputError where there is none, OutputError where `out` can't be written.
    """
    output_folder(out, *SET)
    report = assemble(read_jsonl(path), out, seed=seed, checks=Checks(near=near))
    if not report.kept:
        if not report.dropped:
            raise InputError(f"{path}: found no Tideo; expected one or more, as JSON Lines. Check the name.")
        count, reason = max((found["count"], reason) for reason, found in report.dropped.items())
        raise AllFailed(
            f"{path}: none of {report.read:,} Tideos is kept; the commonest reason, of {count:,} of them: {reason}. "
            f"{out / 'quality.json'} has all reasons."
        )
    return report
