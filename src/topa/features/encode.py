"""The verb `encode`: stores of any size, put together from their parts.

What is left is decided by what lies on the disk: every verb can be cut off, and goes on when it is given again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..core.artifacts import read_manifest
from ..core.cluster import map_shards
from ..core.command import typed
from ..core.embedded import PAPER_ENCODER, resolve
from ..core.errors import ArtifactMismatch, UsageError
from ..core.shards import ShardSpec
from ..tideos.assemble import TIDEOS
from . import run
from .clips import find_clips
from .encoder import Encoder, identify
from .fusion import Fusion
from .run import EncodeResult
from .sources import ClipSource, Source, TideoSource
from .verbs import EncodeConfig

FRAMES = 10
_WORKERS = 8  # at most, unless more are asked for


def encode(config: EncodeConfig, *, show: bool = True) -> EncodeResult:
    """Encode the inputs into a store, or go on with it, see `topa.features.run`; in shards on the workers of a Ray
    cluster, or of this machine, where `ray` says how many; or only join finished shards, where `merge` says so.

    Raises UsageError for options that don't fit the inputs and where Ray isn't installed, InputError for inputs that
    can't be used, WorkerError where shards fail, with their own words.
    """
    if config.merge:
        result = run.join(config.out)
    elif config.ray is None:
        result = _encode(config, show)
    else:
        result = _on_ray(config, config.ray)
    result.hints = tuple(_hints(config, result))
    return result


def _encode(config: EncodeConfig, show: bool) -> EncodeResult:
    source = source_of(config, show=show)
    name = resolve(config.encoder or PAPER_ENCODER)
    return run.encode(
        source,
        config.out,
        identify(name),
        partial(Encoder.from_pretrained, name),
        part=config.shard,
        batch_size=config.batch_size,
        show=show,
    )


def _on_ray(config: EncodeConfig, number: int) -> EncodeResult:
    """Encode in `number` shards. The folder must be one that all workers see; the same call again goes on."""
    source_of(config)  # what is wrong with the inputs is told once, before any worker starts
    encoder = config.encoder
    if encoder is not None and Path(encoder).is_dir():
        encoder = str(Path(encoder).absolute())
    whole = replace(config, out=config.out.absolute(), encoder=encoder, ray=None)
    shards = map_shards(partial(_shard, whole, number), number)
    result = run.join(config.out)
    result.done = sum(one["done"] for one in shards)
    result.seconds = max(one["seconds"] for one in shards)
    return result


def _shard(config: EncodeConfig, number: int, index: int) -> dict[str, Any]:
    result = encode(replace(config, shard=ShardSpec(index, number)), show=False)
    return {"done": result.done, "seconds": result.seconds}


def _hints(config: EncodeConfig, result: EncodeResult) -> Iterator[str]:
    """What can be done with a store."""
    if not result.whole:
        yield f"next:    the other shards; then {config.out} is the store"
    elif result.noun == "Tideos":
        tideos = tideos_in(config.inputs[0]) if len(config.inputs) == 1 else "TIDEOS"
        yield f"next:    {_align_command(tideos, result.path, config.encoder)}"
        yield f"or:      {typed('memory', 'build', result.path, '--out', 'memory', '--rows', 1_000_000)}"
    else:
        yield f"read it: from topa.features.store import FeatureStore; FeatureStore.open({str(result.path)!r})"


def _align_command(tideos: Path | str | None, features: Path, encoder: str | None) -> str:
    """The command that trains on a store: a recipe's features are of its encoder and its fusion."""
    manifest = read_manifest(features, "features")
    toy = encoder == "microworld/clip"
    changes = [] if toy or manifest.encoder == PAPER_ENCODER else [f"encoder={encoder or 'ENCODER'}"]
    if (fusion := manifest.config.get("fusion", "mean")) != ("caption" if toy else "mean"):
        changes.append(f"fusion={fusion}")
    where = ["--tideos", tideos or "TIDEOS", "--features", features, "--out", "model"]
    recipe = ["--recipe", "microworld" if toy else "RECIPE"]
    return typed("align", *recipe, *where, *(word for change in changes for word in ("--set", change)))


def source_of(config: EncodeConfig, *, show: bool = True) -> Source:
    """What is encoded: Tideos, or clips of videos. Raises UsageError and InputError."""
    if not config.inputs:
        raise UsageError("encode: found no input; expected Tideos (.jsonl, or the folder of a set) or videos.")
    files = [tideos_in(config.here / path) for path in config.inputs]
    tideos = [file for file in files if file is not None]
    if not tideos:
        if config.fusion is not None:
            raise UsageError("--fusion: videos have no captions to fuse. Leave it out.")
        workers = config.workers or min(os.cpu_count() or 1, _WORKERS)
        paths = [config.here / path for path in config.inputs]
        return ClipSource(find_clips(config.inputs, config.here), paths, config.frames or FRAMES, workers, config.chunk)
    if len(tideos) < len(files):
        other = next(path for path, file in zip(config.inputs, files, strict=True) if file is None)
        raise UsageError(
            f"encode: found Tideos ({tideos[0]}) and videos ({other}); expected one of the two, as a store is of text "
            "or of images. Encode them into two folders."
        )
    for option, value in (("--frames", config.frames), ("--workers", config.workers)):
        if value is not None:
            raise UsageError(f"{option}: is for videos; Tideos have frames of their own. Leave it out.")
    fusion: Fusion = config.fusion or "mean"
    return TideoSource(tideos, fusion, config.chunk, show=show)


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
