"""The verb `clean`: what of a file of Tideos is fit for training, as a set."""

from __future__ import annotations

from ..core.artifacts import output_folder
from ..core.errors import AllFailed, InputError
from .assemble import FILES, assemble
from .jsonl import read_jsonl
from .quality import Checks
from .set_result import SetResult
from .verbs import CleanConfig


def clean(config: CleanConfig) -> SetResult:
    """Write the Tideos of a file that are kept as a set: `tideos.jsonl`, `quality.json`, its card, a manifest.

    near: see `Checks`. Raises AllFailed if all are left out, InputError if the file has none, OutputError if `out`
    can't be written.
    """
    path, out = config.tideos, config.out
    output_folder(out, *FILES)
    report = assemble(read_jsonl(path), out, seed=config.seed, checks=Checks(near=config.near))
    if not report.kept:
        if not report.dropped:
            raise InputError(f"{path}: found no Tideo; expected one or more, as JSON Lines. Check the name.")
        count, reason = max((entry["count"], reason) for reason, entry in report.dropped.items())
        raise AllFailed(
            f"{path}: none of {report.read:,} Tideos is kept; the commonest reason, of {count:,} of them: {reason}. "
            f"{out / 'quality.json'} has all reasons."
        )
    return SetResult(out, report)
