"""Clean a file of Tideos into a set: the verb `topa clean`."""

from __future__ import annotations

from pathlib import Path

from ..core.artifacts import output_folder
from ..core.errors import AllFailed, InputError
from .assemble import FILES, assemble
from .jsonl import read_jsonl
from .quality import Checks, CleaningReport


def clean_tideos(path: Path, out: Path, seed: int, near: float) -> CleaningReport:
    """Write the usable Tideos of a file as a set to `out`: `tideos.jsonl`, `quality.json`, the card and the manifest.

    near: see `Checks`. Raises AllFailed if all are left out, InputError if the file has none, OutputError if `out`
    can't be written.
    """
    output_folder(out, *FILES)
    report = assemble(read_jsonl(path), out, seed=seed, checks=Checks(near=near))
    if not report.kept:
        if not report.dropped:
            raise InputError(f"{path}: found no Tideo; expected one or more, as JSON Lines. Check the name.")
        count, reason = max((entry["count"], reason) for reason, entry in report.dropped.items())
        raise AllFailed(
            f"{path}: none of {report.read:,} Tideos is kept; the commonest reason, of {count:,} of them: {reason}. "
            f"{out / 'quality.json'} has all reasons."
        )
    return report
