"""The config of the verb `runs`."""

from __future__ import annotations

from pathlib import Path

from ..core.verbs import VerbConfig, argument, option


class RunsConfig(VerbConfig):
    """List training runs with their best numbers and what differs between them; with --out, plot them.

    Example:  topa runs my-runs --sort lr --out runs-report
    """

    folders: tuple[Path, ...] = argument("Runs, or folders above them.", metavar="DIR")
    sort: str = option(
        "accuracy, loss or rouge_l (the best held-out ones), train_loss, step, seconds, tokens_per_second, "
        "started, name, or a setting.",
        default="accuracy",
    )
    out: Path | None = option("Also write report.html and its plots as PNG into this folder.", default=None)
