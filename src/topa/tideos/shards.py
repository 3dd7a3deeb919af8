"""Shards of a set: which seeds belong to each, where it lies, and how to merge them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.artifacts import Manifest, read_manifest
from ..core.config_diff import config_diff
from ..core.errors import ArtifactMismatch, InputError, UsageError
from .assemble import KIND, KINDS, TIDEOS, assemble
from .jsonl import read_jsonl
from .ledger import LEDGER, Ledger
from .quality import Checks, CleaningReport
from .tideo import Tideo
from .writers import TokenUsage

_ASSEMBLED = ("seeds", "seed", "near", KINDS)  # keys of a set's configuration that its ledger's doesn't have
_NAME = re.compile(r"shard-(\d+)-of-(\d+)")


@dataclass(frozen=True)
class ShardSpec:
    """Shard `index` of `of`: the seeds whose position modulo `of` is `index`."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise UsageError(f"shard {self}: expected i/n with i from 0 to n - 1, such as 0/4, 1/4, 2/4, 3/4.")

    @classmethod
    def parse(cls, text: str) -> ShardSpec:
        """Parse i/n. Raises UsageError."""
        index, slash, of = text.partition("/")
        if not slash or not index.isascii() or not index.isdigit() or not of.isascii() or not of.isdigit():
            raise UsageError(f"shard {text!r}: expected i/n with i from 0 to n - 1, such as 0/4.")
        return cls(int(index), int(of))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def has(self, number: int) -> bool:
        """Whether the seed at this position belongs to the shard."""
        return number % self.of == self.index

    def folder(self, out: Path) -> Path:
        """Return the shard's folder in the set at `out`."""
        return out / f"shard-{self.index}-of-{self.of}"


def merge(
    out: Path,
    *,
    seed: int = 0,
    checks: Checks | None = None,
    show: bool = True,
) -> CleaningReport:
    """Merge the finished shards in a folder into one set, in the order of a run without shards.

    checks: by default those of the first shard.

    Raises InputError if there are none or some are missing, ArtifactError if one is unfinished or was changed,
    ArtifactMismatch if their configurations differ, OutputError if the folder can't be written.
    """
    shards = parts(out, "generate")
    manifests = [read_manifest(shard.folder(out), KIND, verify=True) for shard in shards]
    config = _common(shards, manifests)
    checks = checks or Checks(near=manifests[0].config["near"])
    with ExitStack() as stack:
        ledgers = []
        for shard, manifest in zip(shards, manifests, strict=True):
            path = shard.folder(out) / LEDGER
            if path.exists():
                own = {k: v for k, v in manifest.config.items() if k not in _ASSEMBLED}
                ledgers.append(stack.enter_context(Ledger(path, own)))
        streams = [_of_ledger(ledger) for ledger in ledgers] or [_of_file(shard.folder(out)) for shard in shards]
        usages = [ledger.total_usage() for ledger in ledgers]
        refused: dict[str, int] = {}
        for ledger in ledgers:
            for reason, number in ledger.errors().items():
                refused[reason] = refused.get(reason, 0) + number
        return assemble(
            (tideo for _, tideo in heapq.merge(*streams, key=lambda pair: pair[0])),
            out,
            seed=seed,
            checks=checks,
            refused=refused,
            cost=asdict(sum(usages, TokenUsage())) if usages else None,
            kinds=manifests[0].config.get(KINDS),
            config={**config, "shards": len(shards)},
            show=show,
        )


def parts(out: Path, verb: str) -> list[ShardSpec]:
    """Return the shards in a folder, in order. verb: the command that writes them.

    Raises InputError if there are none, some are missing, or their number is ambiguous.
    """
    matches = [_NAME.fullmatch(path.name) for path in sorted(out.iterdir())] if out.is_dir() else []
    shards = [ShardSpec(int(match[1]), int(match[2])) for match in matches if match]
    if not shards:
        raise InputError(f"{out}: found no shards; expected folders such as shard-0-of-4. Run topa {verb} --shard.")
    of = {shard.of for shard in shards}
    if len(of) > 1:
        raise InputError(
            f"{out}: found shards of {', '.join(str(n) for n in sorted(of))}; expected parts of one division. "
            "Move the others away."
        )
    missing = sorted(set(range(shards[0].of)) - {shard.index for shard in shards})
    if missing:
        raise InputError(
            f"{out}: shards {', '.join(f'{n}/{shards[0].of}' for n in missing)} are missing. "
            f"Run topa {verb} with --shard {missing[0]}/{shards[0].of}."
        )
    return sorted(shards, key=lambda shard: shard.index)


def _common(shards: list[ShardSpec], manifests: list[Manifest]) -> dict[str, Any]:
    """Return the common configuration of all shards. Their numbers of seeds may differ by one."""
    configs = [{k: v for k, v in m.config.items() if k not in ("shard", *_ASSEMBLED)} for m in manifests]
    for shard, config in zip(shards, configs, strict=True):
        if other := config_diff(config, configs[0]):
            raise ArtifactMismatch(f"shard {shard}: {other} in 0/{shard.of}. Write all shards with the same options.")
    return configs[0]


def _of_ledger(ledger: Ledger) -> Iterator[tuple[int, Tideo]]:
    return ((position, Tideo.model_validate_json(line)) for position, line in ledger.results())


def _of_file(folder: Path) -> Iterator[tuple[int, Tideo]]:
    """Read a shard of the micro world, which has no ledger: its Tideos hold their positions."""
    return ((int(tideo.source["number"]), tideo) for tideo in read_jsonl(folder / TIDEOS))
