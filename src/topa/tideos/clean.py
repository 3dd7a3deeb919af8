"""What of a file of Tideos is fit for training, as a set: the verb behind `topa clean`."""

from __future__ import annotations

from pathlib import Path

from ..core.artifacts import output_folder
from ..core.errors import AllFailed, InputError
from .assemble import FILES, assemble
from .jsonl import read_jsonl
from .quality import Checks, CleaningReport


def clean_tideos(path: Path, out: Path, seed: int, near: float) -> CleaningReport:
    """The Tideos of a file that are kept as a set in `out`: `tideos.jsonl`, `quality.json`, its card, a manifest.

    Raises AllFailed where none is kept, InputError where there is none, OutputError where `out` can't be written.
    """
    output_folder(out, *FILES)
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
