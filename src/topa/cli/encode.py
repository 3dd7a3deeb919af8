"""Verbs between Tideos, videos and training: encode, memory build, memory inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.command import typed
from ..core.errors import UsageError
from ..core.verbosity import hint, note
from .app import Json, app, memory
from .completion import any_of

if TYPE_CHECKING:
    from ..features.run import EncodeResult
    from ..memory.inspection import Inspection

_SHOWN = 5


@app.command(
    epilog="Example:  topa encode kitchen.jsonl --out kitchen-features --encoder openai/clip-vit-large-patch14"
)
def encode(
    out: Annotated[Path, typer.Option("--out", help="Folder of the store; the same command again goes on with it.")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Tideos: .jsonl, or the folder of a set. Or videos: files, folders, .txt (a path a line), .csv (path "
            "or video, and id, start, end where they are known).",
            metavar="INPUT",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Folder or hub id of a CLIP-like model; microworld/clip. Default: openai/clip-vit-large-patch14.",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", help="Of each video, at even times. Default: 10.", min=1)
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            "--fusion",
            autocompletion=any_of("mean", "caption"),
            help="A Tideo's frame is the mean of all its captions, or its caption. Default: mean.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="i/n: every n-th item from the i-th on. The last shard to be done joins them."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Only join finished shards, such as were copied here from other machines.")
    ] = False,
    ray: Annotated[int | None, typer.Option("--ray", help="Encode so many shards on Ray's workers.", min=1)] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes that decode videos. Default: one per core, 8 at most.", min=1),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Captions or pictures computed together. Default: 256 or 32.", min=1),
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn Tideos or videos into features: resumable, in shards, equal captions once, bad videos listed."""
    from ..tideos.shards import ShardSpec

    if merge and (inputs or shard or ray):
        raise UsageError("--merge: joins what is in --out. Leave out the inputs, --shard and --ray.")
    if shard and ray:
        raise UsageError("--shard and --ray exclude each other: --ray makes all shards. Give one of them.")
    part = None if shard is None else ShardSpec.parse(shard)
    from ..core.embedded import PAPER_ENCODER
    from ..features import encode as encoding

    if merge:
        result = encoding.merge(out)
    else:
        plan = encoding.Plan(
            tuple(inputs or ()),
            out,
            encoder or PAPER_ENCODER,
            part=part,
            frames=frames,
            fusion=fusion,
            workers=workers,
            batch_size=batch_size,
        )
        result = encoding.encode(plan) if ray is None else encoding.on_ray(plan, ray)
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    else:
        _say(result, out, inputs, encoder)


def _say(result: EncodeResult, out: Path, inputs: list[Path] | None, encoder: str | None) -> None:
    from ..features import encode as encoding

    for reason in list(result.failed.values())[:_SHOWN]:
        note(f"left out: {reason}")
    if result.failed:
        note(
            f"note: {len(result.failed):,} videos are left out; {result.path / 'failed.json'} has all reasons. "
            "When they are mended, the same command encodes them"
        )
    if result.truncated:
        shown = ", ".join(result.truncated[:_SHOWN])
        note(f"note: {len(result.truncated):,} videos are damaged or cut, and used as far as they go: {shown}")
    if result.cut:
        note(f"note: {result.cut:,} captions are longer than the encoder reads, and were cut")
    before = f", {result.done:,} of them before" if result.done else ""
    typer.echo(
        f"encoded: {result.items:,} {result.noun} ({result.rows:,} rows, {result.bytes / 1e6:,.1f} MB{before}), "
        f"{result.seconds:,.0f} s"
    )
    typer.echo(f"store:   {result.path}")
    if not result.whole:
        hint(f"next:    the other shards; then {out} is the store")
    elif result.noun == "Tideos":
        tideos = encoding.tideos_in(inputs[0]) if inputs and len(inputs) == 1 else "TIDEOS"
        hint(f"next:    {_align(tideos, result.path, encoder)}")
        hint(f"or:      {typed('memory', 'build', result.path, '--out', 'memory', '--rows', 1_000_000)}")
    else:
        hint(f"read it: from topa.features.store import FeatureStore; FeatureStore.open({str(result.path)!r})")


def _align(tideos: Path | str | None, features: Path, encoder: str | None) -> str:
    """The command that trains on a store: a recipe's features are of its encoder and its fusion."""
    from ..core.artifacts import read_manifest
    from ..core.embedded import PAPER_ENCODER

    made = read_manifest(features, "features")
    toy = encoder == "microworld/clip"
    changes = [] if toy or made.encoder == PAPER_ENCODER else [f"encoder={encoder or 'ENCODER'}"]
    if (fusion := made.config.get("fusion", "mean")) != ("caption" if toy else "mean"):
        changes.append(f"fusion={fusion}")
    where = ["--tideos", tideos or "TIDEOS", "--features", features, "--out", "model"]
    recipe = ["--recipe", "microworld" if toy else "RECIPE"]
    return typed("align", *recipe, *where, *(word for change in changes for word in ("--set", change)))


@memory.command(epilog="Example:  topa memory build kitchen-features --out kitchen-memory --rows 1000000 --near 0.98")
def build(
    store: Annotated[Path, typer.Argument(help="A store of Tideos, from topa encode.", metavar="STORE")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the memory.")],
    rows: Annotated[int, typer.Option("--rows", help="How many frames to draw, at most.", min=1)],
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw.")] = 0,
    near: Annotated[
        float | None,
        typer.Option("--near", help="Leave out rows whose cosine with another one is this or more, such as 0.98."),
    ] = None,
    tideos: Annotated[
        Path | None,
        typer.Option("--tideos", help="The Tideos, for their captions. Default: where topa encode read them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw a memory of captions' features, by which pictures are later expressed in the language of text."""
    from ..memory.build import build_memory

    bank = build_memory(store, out, rows, seed=seed, near=near, tideos=tideos)
    told = bank.captions is not None
    if as_json:
        typer.echo(json.dumps({"out": str(out), "rows": len(bank), "encoder": bank.encoder, "captions": told}))
        return
    if not told:
        note("note: without captions, as the Tideos were not found; --tideos names them")
    if near is not None:
        typer.echo(f"near:    {len(bank):,} rows are left of those drawn; --rows takes more")
    typer.echo(f"memory:  {out} ({len(bank):,} rows, {bank.values.shape[1]} wide, {bank.encoder})")
    hint(f"next:    {typed('memory', 'inspect', out)}")


@memory.command(epilog="Example:  topa memory inspect kitchen-memory --json")
def inspect(
    folder: Annotated[Path, typer.Argument(help="A memory, or a saved model with one.", metavar="DIR")],
    as_json: Json = False,
) -> None:
    """Say what is in a memory: its size, how many of its rows are nearly the same, and what they say."""
    from ..memory.build import inspect_memory

    found = inspect_memory(folder)
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False) if as_json else _described(found))


def _described(found: Inspection) -> str:
    near = ", ".join(f"{share:.1%} at {cosine}" for cosine, share in found.near.items())
    lines = [
        f"rows:       {found.rows:,} of width {found.width}, {found.bytes / 1e6:,.1f} MB",
        f"encoder:    {found.encoder}",
        f"neighbours: {near} (share of rows with another one as near, by a sample)",
        f"distinct:   about {found.distinct_rows:,} rows where nearly equal ones (0.98) count once",
        f"spread:     {found.dimensions:,.1f} of {found.width} dimensions; mean cosine of two rows {found.cosine:.3f}",
    ]
    if found.bad_rows:
        lines.append(f"damaged:    {found.bad_rows:,} rows are no unit rows. Build the memory again")
    if found.words is None:
        lines.append("captions:   none. Build it with --tideos to have readings in words")
    else:
        fewest, median, most = found.words
        lines.append(
            f"captions:   {fewest} to {most} words, median {median:g}; {found.distinct_captions:.1%} are different"
        )
        lines += [f"  {pair.cosine:.3f}  {pair.caption}  |  {pair.nearest}" for pair in found.examples]
    return "\n".join(lines)
