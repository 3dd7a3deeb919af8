"""The verb `import textvid`: TextVid as TOPA's authors published it, brought in.

Without features, nothing here loads torch.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..core.artifacts import output_folder, remove, write_atomically
from ..core.command import typed
from ..core.embedded import PAPER_ENCODER
from ..core.errors import InputError
from ..core.printable import Hint, Note, Printout
from ..tideos.assemble import TIDEOS
from ..tideos.drop_counts import DropCounts
from ..tideos.jsonl import write_jsonl
from ..tideos.textvid import read_textvid
from .verbs import ImportTextVidConfig

LEFT_OUT = "left-out.json"
FEATURES = "features"


def import_textvid(config: ImportTextVidConfig) -> Printout[int]:
    """Write TextVid as `out/tideos.jsonl`, `out/left-out.json` and, from a folder of `IDX.pkl`, the store
    `out/features`.

    With features, Tideos that have none are left out, so that the two fit each other.
    Raises InputError where nothing can be used, OutputError where `out` can't be written.
    """
    path, out, features = config.path, config.out, config.features
    output_folder(out, TIDEOS, LEFT_OUT, *_store_files(features))
    tally = DropCounts()
    tideos = read_textvid(path, tally)
    if features is None:
        number = write_jsonl(tideos, out / TIDEOS)
    else:
        from .textvid import import_features

        encoder = config.encoder or PAPER_ENCODER
        number = len(import_features(tideos, features, out / FEATURES, encoder, tally, also=out / TIDEOS))
    if not number:
        remove(out / TIDEOS)
        reasons = "; ".join(tally.lines()) or "the list is empty"
        raise InputError(f"{path}: found no Tideo that can be used: {reasons}. Give the published textvid.json.")
    write_atomically(out / LEFT_OUT, json.dumps(tally.as_json(), ensure_ascii=False, indent=1) + "\n")
    store = [] if features is None else ["--features", out / FEATURES]
    change = [] if config.encoder is None else ["--set", f"encoder={config.encoder}"]
    words = ["--recipe", "RECIPE", "--tideos", out / TIDEOS, *store, "--out", "model", *change]
    text = [
        *(Note(f"left out: {line}") for line in tally.lines()),
        f"imported: {out / TIDEOS} ({number:,} Tideos)",
        Hint(f"next:     {typed('align', *words)}"),
    ]
    return Printout(number, text, {"tideos": number, "left_out": tally.as_json()})


def _store_files(features: Path | None) -> list[str]:
    if features is None:
        return []
    from .store import FILES

    return [f"{FEATURES}/{name}" for name in FILES]
