"""Stores of any size: the verb behind `topa encode`, put together from its parts.

What is left is decided by what lies on the disk: every verb can be cut off, and goes on when it is given again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ..core.cluster import map_shards
from ..core.embedded import resolve
from ..core.errors import ArtifactMismatch, UsageError
from ..core.registry import unknown
from ..tideos.assemble import TIDEOS
from ..tideos.shards import ShardSpec
from . import run
from .clips import find_clips
from .encoder import Encoder, identify
from .fusion import Fusion
from .run import EncodeResult
from .sources import ClipSource, Source, TideoSource

FRAMES = 10
_WORKERS = 8  # at most, unless more are asked for


@dataclass(frozen=True)
class Plan:
    """What is encoded, and where to. encoder: a folder, hub id or microworld/clip. part: of the items a shard.
    frames, workers: for videos; fusion: for Tideos. batch_size: captions or pictures computed together. chunk: items
    of one file of the store. None: the default. here: what inputs are relative to, also where another process works on
    the plan; the ids of videos are the paths as they were given."""

    inputs: tuple[Path, ...]
    out: Path
    encoder: str
    part: ShardSpec | None = None
    frames: int | None = None
    fusion: str | None = None
    workers: int | None = None
    batch_size: int | None = None
    chunk: int | None = None
    here: Path = field(default_factory=Path.cwd)


def encode(plan: Plan, *, show: bool = True) -> EncodeResult:
    """Encode the inputs of a plan into a store, or go on with it; see `topa.features.run`.

    Raises UsageError for options that don't fit the inputs, InputError for inputs that can't be used.
    """
    source = source_of(plan, show=show)
    name = resolve(plan.encoder)
    return run.encode(
        source,
        plan.out,
        identify(name),
        partial(Encoder.from_pretrained, name),
        part=plan.part,
        batch_size=plan.batch_size,
        show=show,
    )


def on_ray(plan: Plan, number: int) -> EncodeResult:
    """Encode in `number` shards on the workers of a Ray cluster, or of this machine, and join them.

    The folder must be one that all workers see. The same call again goes on with what is left. Raises UsageError where
    Ray isn't installed, WorkerError where shards fail, with their own words.
    """
    source_of(plan)  # what is wrong with the inputs is told once, before any worker starts
    encoder = str(Path(plan.encoder).absolute()) if Path(plan.encoder).is_dir() else plan.encoder
    shard_results = map_shards(partial(_shard, replace(plan, out=plan.out.absolute(), encoder=encoder), number), number)
    result = run.join(plan.out)
    result.done = sum(one["done"] for one in shard_results)
    result.seconds = max(one["seconds"] for one in shard_results)
    return result


def _shard(plan: Plan, number: int, index: int) -> dict[str, Any]:
    return encode(replace(plan, part=ShardSpec(index, number)), show=False).as_json()


def merge(out: Path) -> EncodeResult:
    """Join the finished shards in a folder; see `topa.features.run.join`."""
    return run.join(out)


def source_of(plan: Plan, *, show: bool = True) -> Source:
    """Return the items of a plan: Tideos, or clips of videos. Raises UsageError and InputError."""
    if not plan.inputs:
        raise UsageError("encode: found no input; expected Tideos (.jsonl, or the folder of a set) or videos.")
    files = [tideos_in(plan.here / path) for path in plan.inputs]
    tideos = [file for file in files if file is not None]
    if not tideos:
        if plan.fusion is not None:
            raise UsageError("--fusion: videos have no captions to fuse. Leave it out.")
        workers = plan.workers or min(os.cpu_count() or 1, _WORKERS)
        paths = [plan.here / path for path in plan.inputs]
        return ClipSource(find_clips(plan.inputs, plan.here), paths, plan.frames or FRAMES, workers, plan.chunk)
    if len(tideos) < len(files):
        other = next(path for path, file in zip(plan.inputs, files, strict=True) if file is None)
        raise UsageError(
            f"encode: found Tideos ({tideos[0]}) and videos ({other}); expected one of the two, as a store is of text "
            "or of images. Encode them into two folders."
        )
    for option, value in (("--frames", plan.frames), ("--workers", plan.workers)):
        if value is not None:
            raise UsageError(f"{option}: is for videos; Tideos have frames of their own. Leave it out.")
    fusion = plan.fusion or "mean"
    if fusion not in get_args(Fusion):
        raise unknown("fusion", fusion, get_args(Fusion))
    return TideoSource(tideos, fusion, plan.chunk, show=show)  # type: ignore[arg-type]


def tideos_in(path: Path) -> Path | None:
    """Return the file of Tideos behind a path; None where it is something else."""
    if path.is_dir():
        return path / TIDEOS if (path / TIDEOS).is_file() else None
    return path if path.suffix.lower() == ".jsonl" else None


def towers(name: str, identity: str | None = None) -> Encoder:
    """Load the encoder of a name, microworld/clip among them.

    Raises InputError where there is none, ArtifactMismatch where features are of another identity than it has now.
    """
    encoder = Encoder.from_pretrained(resolve(name))
    if identity not in (None, encoder.identity):
        raise ArtifactMismatch(
            f"{name}: is {encoder.identity} now, the features are of {identity}; expected the same. Bring the old one "
            "back, or index the videos again: topa index VIDEOS --out ANOTHER"
        )
    return encoder
