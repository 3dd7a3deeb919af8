"""From Tideos as they were written to a finished set: cleaned, balanced, mixed, described.

The folder gets `tideos.jsonl`, `quality.json`, `card.html`, `card.md` and `card.json`; with `done`, a manifest. One
Tideo is in memory at a time.
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
"""What the manifest calls the kinds of questions that a prompt declared, with what each means."""
FILES = (TIDEOS, QUALITY, *CARD, MANIFEST)
"""What a set is written as."""


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
    done: bool = True,
    total: int | None = None,
    show: bool = True,
) -> CleaningReport:
    """Clean Tideos and write the set. `refused`, `cost`: for the card. `kinds`: those that questions were asked for,
    and what each means, for the card and the manifest. `config`: for the manifest. `done`: whether the set is complete;
    without, there is no manifest. `total`: how many there are, for the bar.

    Raises OutputError where the folder can't be written.
    """
    output_folder(out, *FILES)
    remove(out / MANIFEST)
    checks = checks or Checks()
    cleaner, describer = Cleaner(seed, checks), CardBuilder()

    def kept() -> Iterator[Tideo]:
        for tideo, told in cleaner(track(tideos, "cleaning", total, show=show)):
            describer.add(tideo, told)
            yield tideo

    write_jsonl(kept(), out / TIDEOS)
    report = cleaner.report
    write_atomically(out / QUALITY, report.model_dump_json(indent=1) + "\n")
    write_card(describer.card(out.name, report.dropped, report.leakage, refused, cost, kinds), out)
    if done:
        own: dict[str, Any] = {"seed": seed, "near": checks.near}
        if kinds is not None:
            own[KINDS] = dict(kinds)
        counts = {"tideos": report.kept, "left_out": report.read - report.kept}
        finish(out, Manifest(kind=KIND, counts=counts, config={**(config or {}), **own}), [TIDEOS, QUALITY])
    return report
