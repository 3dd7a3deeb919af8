"""A set in parts: which seeds belong to which part, where it lies, and how the parts become one set again."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.artifacts import Manifest, read_manifest
from ..core.errors import ArtifactMismatch, InputError, UsageError
from .assemble import KIND, KINDS, TIDEOS, assemble
from .jsonl import read_jsonl
from .ledger import LEDGER, Ledger, TokenUsage
from .quality import Checks, CleaningReport
from .tideo import Tideo

_ASSEMBLED = ("seeds", "seed", "near", KINDS)  # what a set's configuration has beside that of its ledger
_NAME = re.compile(r"shard-(\d+)-of-(\d+)")


@dataclass(frozen=True)
class ShardSpec:
    """Part `index` of `of`: every seed whose number, counted from 0, leaves the rest `index` when divided by `of`."""

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise UsageError(f"shard {self}: expected i/n with i from 0 to n - 1, such as 0/4, 1/4, 2/4, 3/4.")

    @classmethod
    def parse(cls, text: str) -> ShardSpec:
        """Read i/n. Raises UsageError."""
        index, slash, of = text.partition("/")
        if not slash or not index.isascii() or not index.isdigit() or not of.isascii() or not of.isdigit():
            raise UsageError(f"shard {text!r}: expected i/n with i from 0 to n - 1, such as 0/4.")
        return cls(int(index), int(of))

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def has(self, number: int) -> bool:
        """Whether the seed of this number belongs to it."""
        return number % self.of == self.index

    def folder(self, out: Path) -> Path:
        """Where its part of the set at `out` lies."""
        return out / f"shard-{self.index}-of-{self.of}"


def merge(
    out: Path,
    *,
    seed: int = 0,
    checks: Checks | None = None,
    show: bool = True,
) -> CleaningReport:
    """Make one set of the finished shards in a folder, in the order that a run without shards has.

    `checks`: by default duplicates are looked for as they were in the first shard.

    Raises InputError where there are none or some are missing, ArtifactError for one that isn't finished or was
    changed, ArtifactMismatch where they were not made alike, OutputError where the folder can't be written.
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
        written = [_of_ledger(ledger) for ledger in ledgers] or [_of_file(shard.folder(out)) for shard in shards]
        spent = [ledger.spent() for ledger in ledgers]
        refused: dict[str, int] = {}
        for ledger in ledgers:
            for reason, number in ledger.errors().items():
                refused[reason] = refused.get(reason, 0) + number
        return assemble(
            (tideo for _, tideo in heapq.merge(*written, key=lambda pair: pair[0])),
            out,
            seed=seed,
            checks=checks,
            refused=refused,
            cost=asdict(sum(spent, TokenUsage())) if spent else None,
            kinds=manifests[0].config.get(KINDS),
            config={**config, "shards": len(shards)},
            show=show,
        )


def parts(out: Path, verb: str) -> list[ShardSpec]:
    """The parts that lie in a folder, all of one division, in order. verb: what writes them.

    Raises InputError where there are none, some are missing, or they are of several divisions.
    """
    found = [_NAME.fullmatch(path.name) for path in sorted(out.iterdir())] if out.is_dir() else []
    shards = [ShardSpec(int(match[1]), int(match[2])) for match in found if match]
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
    """What all shards were made with. How many seeds each has may differ by one."""
    configs = [{k: v for k, v in m.config.items() if k not in ("shard", *_ASSEMBLED)} for m in manifests]
    for shard, config in zip(shards, configs, strict=True):
        other = [k for k in sorted(config.keys() | configs[0].keys()) if config.get(k) != configs[0].get(k)]
        if other:
            differ = "; ".join(f"{k} is {config.get(k)!r} and was {configs[0].get(k)!r} in 0/{shard.of}" for k in other)
            raise ArtifactMismatch(f"shard {shard}: {differ}. Write all shards with the same options.")
    return configs[0]


def _of_ledger(ledger: Ledger) -> Iterator[tuple[int, Tideo]]:
    return ((position, Tideo.model_validate_json(line)) for position, line in ledger.results())


def _of_file(folder: Path) -> Iterator[tuple[int, Tideo]]:
    """A part that was written without a ledger: its Tideos have numbers."""
    return ((int(tideo.source["number"]), tideo) for tideo in read_jsonl(folder / TIDEOS))
