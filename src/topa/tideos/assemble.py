"""Assemble Tideos into a finished set: cleaned, with balanced answers, described by a data card.

Writes `tideos.jsonl`, `quality.json`, `card.html`, `card.md`, `card.json` and, if `complete`, the manifest. One Tideo
is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.artifacts import MANIFEST, Manifest, finish, output_folder, remove, write_atomically
from ..core.progress import track
from .card import FILES as CARD
from .card import CardBuilder, write_card
from .jsonl import write_jsonl
from .quality import Checks, Cleaner, CleaningReport
from .tideo import Tideo

TIDEOS = "tideos.jsonl"
QUALITY = "quality.json"
KIND = "tideos"
KINDS = "kind_descriptions"
"""The manifest's key for the kinds of question that a prompt declares, with their descriptions."""
FILES = (TIDEOS, QUALITY, *CARD, MANIFEST)
"""The files of a set."""


def assemble(
    tideos: Iterable[Tideo],
    out: Path,
    *,
    seed: int,
    checks: Checks | None = None,
    refused: Mapping[str, int] | None = None,
    cost: Mapping[str, float] | None = None,
    kinds: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    complete: bool = True,
    total: int | None = None,
    show: bool = True,
) -> CleaningReport:
    """Clean Tideos and write the set.

    refused, cost: for the card. kinds: declared kinds of question with their descriptions, for the card and the
    manifest. config: for the manifest, which is written only if `complete`. total: number of Tideos, for the bar.
    Raises OutputError if the folder can't be written.
    """
    output_folder(out, *FILES)
    remove(out / MANIFEST)
    checks = checks or Checks()
    cleaner, describer = Cleaner(seed, checks), CardBuilder()

    def clean_tideos() -> Iterator[Tideo]:
        for tideo, words in cleaner(track(tideos, "cleaning", total, show=show)):
            describer.add(tideo, words)
            yield tideo

    write_jsonl(clean_tideos(), out / TIDEOS)
    report = cleaner.report
    write_atomically(out / QUALITY, report.model_dump_json(indent=1) + "\n")
    write_card(describer.card(out.name, report.dropped, report.leakage, refused, cost, kinds), out)
    if complete:
        own: dict[str, Any] = {"seed": seed, "near": checks.near}
        if kinds is not None:
            own[KINDS] = dict(kinds)
        counts = {"tideos": report.kept, "left_out": report.read - report.kept}
        finish(out, Manifest(kind=KIND, counts=counts, config={**(config or {}), **own}), [TIDEOS, QUALITY])
    return report
