"""The command line: one subcommand per verb, no logic.

Heavy imports happen inside the verbs, so that `topa --help` is instant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .core.errors import TopaError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Eyes for a frozen language model, without showing it a single video.",
    epilog="Start here:  topa demo",
)

importer = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Bring in what others have made.")
app.add_typer(importer, name="import", epilog="Example:  topa import checkpoint --help")

_state = {"debug": False}
_STOPPED = 130  # typer's exit code after Ctrl-C, about which it says nothing
_TABLE = 112  # columns that the demo's table needs
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model", help="Folder of an aligned model. Default: the micro model, which knows only the micro world."
    ),
]
Video = Annotated[Path, typer.Argument(help="A video file: anything FFmpeg reads.", metavar="VIDEO")]


def _version(wanted: bool) -> None:
    if wanted:
        from .core.artifacts import own_version

        typer.echo(own_version())
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    _state["debug"] = debug


@app.command(epilog="Example:  topa demo --out my-demo --seed 3")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("topa-demo"),
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, alignment and intervals.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run of under 40 s: small data, short alignment.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also the runs that train again, over three seeds; a quarter of an hour.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The whole method on the micro world: write Tideos, encode, align, answer questions about real mp4 files."""
    if quick and full:
        raise UsageError("demo: --quick and --full exclude each other. Give one of them.")
    from .benchmarks.tables import table
    from .demo import Scale, run

    _quiet()
    report, page = run(out, seed=seed, scale=Scale.quick() if quick else Scale.full() if full else Scale())
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    from rich.console import Console

    console = Console()
    console.width = max(console.width, _TABLE)
    console.print(table(report))
    counted = "; ".join(f"{name}: {n:,}" for name, n in report.parameters.items() if isinstance(n, int))
    typer.echo(f"parameters: {counted}")
    typer.echo(f"report: {page}")
    typer.echo(f"next:   topa ask {page.parent / report.samples[0].video} '{report.samples[0].question}'")


@app.command(epilog="Example:  topa ask clip.mp4 'what colour is the toy at the end ?' --choice red --choice blue")
def ask(
    video: Video,
    question: Annotated[str, typer.Argument(help="What you want to know.", metavar="QUESTION")],
    choice: Annotated[list[str] | None, typer.Option("--choice", help="An option; give two or more, or none.")] = None,
    model: Model = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="How options are compared: logits (their text) or selection (their letter). Default: the model's own.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer a question about a video, freely or by choosing among options."""
    if protocol not in (None, "selection", "logits"):
        from .core.registry import unknown

        raise unknown("protocol", protocol, ("selection", "logits"))
    engine = _engine(video, model)
    answer = engine.ask(video, question, choice or (), protocol=protocol)
    _print(answer, as_json)


@app.command(epilog="Example:  topa caption clip.mp4 --json")
def caption(video: Video, model: Model = None, as_json: Json = False) -> None:
    """Describe a video in words."""
    _print(_engine(video, model).caption(video), as_json)


@app.command(epilog="Example:  topa align --recipe microworld --out my-model --set epochs=2")
def align(
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run and the model; the same command again resumes.")
    ],
    recipe: Annotated[str, typer.Option("--recipe", help="Name of a recipe, or a TOML file.")] = "microworld",
    tideos: Annotated[
        Path | None, typer.Option("--tideos", help="Tideos as JSON Lines, instead of the recipe's.")
    ] = None,
    features: Annotated[Path | None, typer.Option("--features", help="Where the Tideos' features are, or go.")] = None,
    llm: Annotated[
        str | None, typer.Option("--llm", help="The frozen language model, instead of the recipe's.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, changes the recipe.")] = None,
    as_json: Json = False,
) -> None:
    """Teach a frozen language model to read text features: pre-alignment, on text only."""
    from .training.config import read_recipe

    changes = [*(settings or []), *([] if llm is None else [f"llm={llm}"])]
    config = read_recipe(recipe, changes)
    from dataclasses import asdict

    from .pipeline import align as run

    _quiet()
    result = run(config, out, tideos=tideos, features=features)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
        return
    accuracy = "" if result.accuracy is None else f", right on held-out Tideos {result.accuracy:.3f}"
    typer.echo(f"aligned: {out} ({result.steps} steps, {result.seconds:.0f} s, loss {result.loss:.3f}{accuracy})")
    typer.echo(f"next:    topa ask VIDEO QUESTION --model {out}")


@app.command(
    epilog="Example:  topa seeds --kind text mine.txt wordnet=data.noun:2 webvid=a.csv --count 1000 --out seeds.jsonl"
)
def seeds(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="path, kind=path or kind=path:weight. Kinds: howto100m, webvid, ego4d, wordnet, text (a seed a line), "
            "csv, jsonl. Weights are shares of --count, 1 each by default.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File of the seeds, JSON Lines.")],
    kind: Annotated[str | None, typer.Option("--kind", help="The kind of all sources without kind=.")] = None,
    count: Annotated[
        int | None, typer.Option("--count", help="How many seeds to draw. Default: one of every text.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    column: Annotated[
        str | None, typer.Option("--column", help="The column with the text, for the kind csv. Default: text.")
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="The field with the text, for the kind jsonl. Default: text.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the short texts that Tideos are written of: from public data sets' captions, nouns, and your own lists."""
    from dataclasses import asdict

    from .tideos.seeds import Source, check_output, sample, write_seeds

    wanted = [Source.parse(spec, kind) for spec in sources]
    check_output(out, wanted)
    drawn, tallies = sample(wanted, count, seed=seed, column=column, field=field)
    write_seeds(out, drawn)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "written": len(drawn), "sources": [asdict(t) for t in tallies]}))
        return
    for tally in tallies:
        empty = f", {tally.empty:,} without a text" if tally.empty else ""
        typer.echo(
            f"{tally.source}: {tally.read:,} read{empty}, {tally.written:,} written "
            f"({tally.duplicates:,} duplicates of drawn texts dropped)"
        )
    typer.echo(f"seeds: {out} ({len(drawn):,} written)")
    typer.echo(f"next:  topa generate --seeds {out} --endpoint URL --model NAME --out tideos")


@app.command(
    epilog="Example:  topa generate --seeds seeds.jsonl --endpoint http://localhost:8000/v1 --model NAME --out tideos"
)
def generate(
    seeds: Annotated[Path, typer.Option("--seeds", help="JSON Lines of objects with id, kind and text.")],
    endpoint: Annotated[str, typer.Option("--endpoint", help="Base URL of anything that speaks OpenAI's protocol.")],
    model: Annotated[str, typer.Option("--model", help="The writer's name at that endpoint.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the ledger and the Tideos; the same command resumes.")],
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Stop before this is exceeded, over all runs: money with prices, else tokens."),
    ] = None,
    price_in: Annotated[float, typer.Option("--price-in", help="Price of a million tokens read.", min=0)] = 0.0,
    price_out: Annotated[float, typer.Option("--price-out", help="Price of a million tokens written.", min=0)] = 0.0,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Requests at a time.", min=1)] = 8,
    rpm: Annotated[float | None, typer.Option("--rpm", help="Requests per minute. Default: no limit.")] = None,
    tpm: Annotated[float | None, typer.Option("--tpm", help="Tokens per minute. Default: no limit.")] = None,
    prompt: Annotated[
        Path | None, typer.Option("--prompt", help="Your own prompt: a text with {seed} where the seed goes.")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", help="Variable that holds the key. Default: OPENAI_API_KEY, may be unset."),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longest reply, in tokens.", min=1)] = 8192,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for one request.", min=0.001)] = 300.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: print the prompt of the first seed and an estimate.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a model behind an endpoint write a Tideo for every seed: paced, within a budget, resumable."""
    from dataclasses import asdict

    from .tideos.asking import Asking
    from .tideos.generate import Limits, estimate
    from .tideos.generate import generate as run
    from .tideos.seeds import read_seeds

    limits = Limits(concurrency, rpm, tpm, budget, price_in, price_out)
    asking = Asking() if prompt is None else Asking.from_file(prompt)
    given = read_seeds(seeds)
    if dry_run:
        first, usage = asking.prompt(given[0]), estimate(given, asking, limits)
        if as_json:
            typer.echo(json.dumps({"prompt": first, "seeds": len(given), "estimate": asdict(usage)}))
            return
        typer.echo(first)
        cost = f", cost about {usage.cost:.2f}" if limits.money else ""
        typer.echo(
            f"{len(given)} seeds: about {usage.tokens_in:,} tokens read, {usage.tokens_out:,} written{cost}", err=True
        )
        return
    result = run(
        given,
        out,
        endpoint=endpoint,
        model=model,
        asking=asking,
        limits=limits,
        key_env=key_env,
        max_tokens=max_tokens,
        timeout=timeout,
    )
    if as_json:
        typer.echo(json.dumps(asdict(result) | {"path": str(result.path)}))
    else:
        spent = f"{result.spent.cost:.4f}, " if limits.money else ""
        typer.echo(
            f"written: {result.path} ({result.accepted} of {result.seeds}; rejected {result.rejected}, "
            f"failed {result.failed}, left {result.left}, in another process {result.elsewhere}; "
            f"spent {spent}{result.spent.tokens:,} tokens)"
        )
        for kind, count in sorted(result.failures.items()):
            typer.echo(f"note: {count} x {kind}", err=True)
    if result.stopped == "budget":
        typer.echo(
            f"note: the budget is used up: one more reply might take {result.needed:,.6g}. "
            "Run the same command with a larger --budget to go on",
            err=True,
        )
    if result.stopped == "interrupted":
        raise typer.Exit(_STOPPED)
    if not as_json and result.accepted:
        typer.echo(f"next:    topa align --tideos {result.path} --recipe RECIPE --out MODEL")


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
    from .models.released import RELEASED_ENCODER
    from .pipeline import import_checkpoint

    _quiet()
    config = import_checkpoint(
        backbone,
        adapter,
        out,
        encoder=encoder or RELEASED_ENCODER,
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
        note = "without a memory, pictures are read as they are; zero-shot adapters need --memory DIR"
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"next:     topa ask VIDEO QUESTION --model {out}")


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
    from .exchange import ENCODER, import_textvid

    done = import_textvid(path, out, features, encoder or ENCODER)
    if as_json:
        typer.echo(json.dumps({"tideos": done.tideos, "left_out": done.left_out.as_json()}, ensure_ascii=False))
        return
    for line in done.left_out.lines():
        typer.echo(f"left out: {line}", err=True)
    typer.echo(f"imported: {out / 'tideos.jsonl'} ({done.tideos:,} Tideos)")
    store = "" if features is None else f" --features {out / 'features'}"
    typer.echo(f"next:     topa align --recipe RECIPE --tideos {out / 'tideos.jsonl'}{store} --out MODEL")


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
    from .exchange import ENCODER, import_memory

    rows = import_memory(path, out, encoder or ENCODER)
    if as_json:
        typer.echo(json.dumps({"rows": rows}))
        return
    typer.echo(f"imported: {out} ({rows:,} rows)")
    typer.echo(f"next:     topa import checkpoint --backbone LLAMA --adapter ADAPTER --memory {out} --out MODEL")


@app.command(epilog="Example:  topa export kitchen.jsonl --format parquet --out kitchen.parquet")
def export(
    tideos: Annotated[Path, typer.Argument(help="Tideos as JSON Lines.", metavar="TIDEOS")],
    form: Annotated[str, typer.Option("--format", help="jsonl, parquet or textvid (the published form).")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    as_json: Json = False,
) -> None:
    """Write Tideos in a form that others read."""
    from .tideos.export import export as write
    from .tideos.jsonl import read_jsonl

    number = write(read_jsonl(tideos), form, out)
    typer.echo(json.dumps({"tideos": number}) if as_json else f"exported: {out} ({number:,} Tideos)")


@app.command(epilog="Example:  topa clean kitchen.jsonl --out kitchen-clean --seed 3")
def clean(
    tideos: Annotated[Path, typer.Argument(help="Tideos as JSON Lines.", metavar="TIDEOS")],
    out: Annotated[Path, typer.Option("--out", help="Folder for tideos.jsonl and quality.json.")],
    seed: Annotated[int, typer.Option("--seed", help="Seed of the options' order.")] = 0,
    near: Annotated[
        float,
        typer.Option("--near", help="Overlap of near duplicates; 1: exact ones only.", min=0.01, max=1),
    ] = 0.8,
    as_json: Json = False,
) -> None:
    """Leave out Tideos that are double or malformed, and balance the places of right answers."""
    from .exchange import clean_tideos

    report = clean_tideos(tideos, out, seed, near)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    for reason, found in report.dropped.items():
        typer.echo(f"left out: {found['count']:,}: {reason} (such as {', '.join(found['examples'])})", err=True)
    typer.echo(f"kept:    {report.kept:,} of {report.read:,} Tideos in {out / 'tideos.jsonl'}")
    typer.echo(f"letters: {report.before} before, {report.after} after")
    told = report.leakage
    blind = f"longest option {told.longest:.1%}, most like the question {told.overlap:.1%}, chance {told.chance:.1%}"
    typer.echo(f"blind:   {blind}")


@app.command(epilog="Example:  topa card kitchen.jsonl --out kitchen-card")
def card(
    tideos: Annotated[Path, typer.Argument(help="Tideos as JSON Lines.", metavar="TIDEOS")],
    out: Annotated[Path, typer.Option("--out", help="Folder for card.md, card.html and card.json.")],
    as_json: Json = False,
) -> None:
    """Describe a set of Tideos: counts, kinds, letters, words, duplicates, and what its questions give away."""
    from .tideos.card import describe, write_card
    from .tideos.jsonl import read_jsonl

    made = describe(tuple(read_jsonl(tideos)), tideos.stem)
    write_card(made, out)
    typer.echo(made.model_dump_json(indent=1) if as_json else f"card: {out / 'card.html'} ({made.tideos:,} Tideos)")


def _engine(video: Path, model: Path | None) -> Any:
    from .features.video import probe

    probe(video)  # an unreadable file is answered at once, before any model is loaded or made
    from .pipeline import load

    _quiet()
    if model is None:
        typer.echo("the micro model knows only the micro world; give --model DIR for your own videos", err=True)
    return load(model)


def _quiet() -> None:
    """Our own progress is enough; transformers would draw a bar for every file it reads."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _print(answer: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_json(), indent=1))
        return
    for warning in answer.warnings:
        typer.echo(f"note: {warning}", err=True)
    typer.echo(answer.text)
    for option, probability in zip(answer.options, answer.probabilities, strict=True):
        typer.echo(f"  {probability:6.1%}  {option}")
    for frame in answer.evidence:
        typer.echo(f"  {frame.time:6.2f} s  read as: {frame.captions[0]}")


def main() -> None:
    """Entry point: deliberate errors become one paragraph on stderr and an exit code."""
    try:
        app(prog_name="topa")
    except TopaError as error:
        if _state["debug"]:
            raise
        typer.echo(f"topa: {error}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == _STOPPED:
            typer.echo("topa: stopped; run the same command again to go on", err=True)
        raise


if __name__ == "__main__":
    main()
