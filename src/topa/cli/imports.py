"""Verbs that bring in what others have made: import checkpoint, textvid, memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..core.command import typed
from ..core.verbosity import hint, note
from .app import Json, importer


@importer.command(
    epilog="Example:  topa import checkpoint --backbone llama2/7B --adapter checkpoint_19.pth --out topa-7b"
)
def checkpoint(
    backbone: Annotated[
        str,
        typer.Option("--backbone", help="The Llama: a folder in Meta's naming, a Hugging Face folder, or a hub id."),
    ],
    adapter: Annotated[Path, typer.Option("--adapter", help="What TOPA's authors released: checkpoint_N.pth.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the saved model.")],
    encoder: Annotated[str | None, typer.Option("--encoder", help="Default: CLIP ViT-L/14, the released one.")] = None,
    memory: Annotated[
        Path | None, typer.Option("--memory", help="A memory of that encoder. Without: pictures are read as they are.")
    ] = None,
    family: Annotated[
        Literal["llama2", "llama3"] | None,
        typer.Option("--family", help="Which Llama, where the file doesn't say it."),
    ] = None,
    prompt_length: Annotated[
        int | None, typer.Option("--prompt-length", help="Prompts per layer, where the file doesn't say it.", min=1)
    ] = None,
    rope_theta: Annotated[
        float, typer.Option("--rope-theta", help="Rotary base; all released adapters were trained with 10,000.")
    ] = 10000.0,
    as_json: Json = False,
) -> None:
    """An adapter that TOPA's authors released, as a saved model that behaves like their code."""
    from ..core.embedded import PAPER_ENCODER
    from ..training.pretrained import import_checkpoint

    config = import_checkpoint(
        backbone,
        adapter,
        out,
        encoder=encoder or PAPER_ENCODER,
        memory=memory,
        family=family,
        prompt_length=prompt_length,
        rope_theta=rope_theta,
    )
    if as_json:
        typer.echo(config.model_dump_json(indent=1))
        return
    typer.echo(f"imported: {out} ({config.llm_layers} layers of width {config.llm_width}, {config.frames} frames)")
    if config.bridge == "raw":
        note("note: without a memory, pictures are read as they are; zero-shot adapters need --memory DIR")
    hint(f"next:     {typed('ask', 'VIDEO', 'QUESTION', '--model', out)}")


@importer.command(epilog="Example:  topa import textvid textvid.json features --out textvid")
def textvid(
    path: Annotated[Path, typer.Argument(help="The published textvid.json.", metavar="TEXTVID")],
    features: Annotated[
        Path | None, typer.Argument(help="The published folder of IDX.pkl files.", metavar="[FEATURES]")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for tideos.jsonl, left-out.json and features.")],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Whose features they are. Default: CLIP ViT-L/14, the released one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """TextVid, the textual videos of TOPA's authors, as Tideos; on request with their published features."""
    from ..core.embedded import PAPER_ENCODER
    from ..features.import_textvid import import_textvid

    done = import_textvid(path, out, features, encoder or PAPER_ENCODER)
    if as_json:
        typer.echo(json.dumps({"tideos": done.tideos, "left_out": done.left_out.as_json()}, ensure_ascii=False))
        return
    for line in done.left_out.lines():
        note(f"left out: {line}")
    typer.echo(f"imported: {out / 'tideos.jsonl'} ({done.tideos:,} Tideos)")
    store = [] if features is None else ["--features", out / "features"]
    change = [] if encoder is None else ["--set", f"encoder={encoder}"]
    where = ["--tideos", out / "tideos.jsonl", *store, "--out", "model"]
    hint(f"next:     {typed('align', '--recipe', 'RECIPE', *where, *change)}")


@importer.command(epilog="Example:  topa import memory memory.pkl --out memory")
def memory(
    path: Annotated[Path, typer.Argument(help="The published memory.pkl.", metavar="MEMORY")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the memory.")],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Whose features they are. Default: CLIP ViT-L/14, the released one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The memory that TOPA's authors published. It has no captions: what frames were read as can't be said."""
    from ..core.embedded import PAPER_ENCODER
    from ..memory.import_memory import import_memory

    rows = import_memory(path, out, encoder or PAPER_ENCODER)
    if as_json:
        typer.echo(json.dumps({"rows": rows}))
        return
    typer.echo(f"imported: {out} ({rows:,} rows)")
    own = [] if encoder is None else ["--encoder", encoder]
    words = ["--backbone", "LLAMA", "--adapter", "ADAPTER", "--memory", out, *own, "--out", "model"]
    hint(f"next:     {typed('import', 'checkpoint', *words)}")
