"""The configs of the verbs that make features."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal

from ..core.embedded import PAPER_ENCODER
from ..core.errors import UsageError
from ..core.shards import ShardSpec
from ..core.verbs import VerbConfig, argument, option


class EncodeConfig(VerbConfig):
    """Turn Tideos or videos into features: resumable, in shards, equal captions once, bad videos listed.

    Example:  topa encode kitchen.jsonl --out kitchen-features --encoder openai/clip-vit-large-patch14
    """

    out: Path = option("Folder of the store; the same command again goes on with it.")
    inputs: tuple[Path, ...] = argument(
        "Tideos: .jsonl, or the folder of a set. Or videos: files, folders, .txt (a path a line), .csv (path or "
        "video, and id, start, end where they are known).",
        metavar="INPUT",
        default=(),
    )
    encoder: str | None = option(
        f"Folder or hub id of a CLIP-like model; microworld/clip. Default: {PAPER_ENCODER}.", default=None
    )
    frames: int | None = option("Of each video, at even times. Default: 10.", min=1, default=None)
    fusion: Literal["mean", "caption"] | None = option(
        "A Tideo's frame is the mean of all its captions, or its caption. Default: mean.", default=None
    )
    shard: ShardSpec | None = option(
        "i/n: every n-th item from the i-th on. The last shard to be done joins them.",
        parse=ShardSpec.parse,
        metavar="I/N",
        default=None,
    )
    merge: bool = option("Only join finished shards, such as were copied here from other machines.", default=False)
    ray: int | None = option("Encode so many shards on Ray's workers.", min=1, default=None)
    workers: int | None = option("Processes that decode videos. Default: one per core, 8 at most.", min=1, default=None)
    batch_size: int | None = option("Captions or pictures computed together. Default: 256 or 32.", min=1, default=None)
    chunk: int | None = None
    """Items of one file of the store."""
    here: Path = field(default_factory=Path.cwd)
    """What inputs are relative to, also where another process encodes them; ids of videos are the paths as given."""

    def __post_init__(self) -> None:
        """Raise UsageError for what excludes each other."""
        super().__post_init__()
        if self.merge and (self.inputs or self.shard or self.ray):
            raise UsageError("--merge: joins what is in --out. Leave out the inputs, --shard and --ray.")
        if self.shard and self.ray:
            raise UsageError("--shard and --ray exclude each other: --ray makes all shards. Give one of them.")


class ImportTextVidConfig(VerbConfig):
    """TextVid, the textual videos of TOPA's authors, as Tideos; on request with their published features.

    Example:  topa import textvid textvid.json features --out textvid
    """

    path: Path = argument("The published textvid.json.", metavar="TEXTVID")
    features: Path | None = argument("The published folder of IDX.pkl files.", metavar="[FEATURES]", default=None)
    out: Path = option("Folder for tideos.jsonl, left-out.json and features.")
    encoder: str | None = option("Whose features they are. Default: CLIP ViT-L/14, the released one.", default=None)
