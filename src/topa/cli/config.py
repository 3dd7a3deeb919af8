"""The verb that shows which defaults apply, and where they come from: config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.defaults import BUILT_IN, REQUIRED, VARIABLE, KnownOption, Words, place
from ..core.printable import Printout
from ..core.registry import unknown
from .app import app
from .commands import Json, show
from .options import known_options
from .shared import shared


@app.command(epilog="Example:  topa config ask --json")
def config(
    context: typer.Context,
    verb: Annotated[
        list[str] | None,
        typer.Argument(help="Show all options of this verb, such as ask or memory build.", metavar="[VERB]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what applies where nothing is typed: from topa.toml, from the environment, built in."""
    verbs = known_options(context.find_root().command)
    asked = tuple(verb or ())
    chosen = {words: options for words, options in verbs.items() if words[: len(asked)] == asked}
    if not chosen:
        known = {" ".join(words[:depth]) for words in verbs for depth in range(1, len(words) + 1)}
        raise unknown("verb", " ".join(asked), known)
    rows = [row for words, options in chosen.items() for row in _rows(words, options, everything=bool(asked))]
    path = place().absolute()
    show(Printout(rows, _text(path, rows), {"file": path, "exists": path.is_file(), "options": rows}), as_json=as_json)


def _rows(words: Words, options: Mapping[str, KnownOption], *, everything: bool) -> Iterator[dict[str, Any]]:
    """The options of a verb with what applies; everything: also where that is built in."""
    for name, option in options.items():
        value, origin = shared.defaults.in_effect(words, name, option)
        if everything or origin not in (BUILT_IN, REQUIRED):
            yield {"verb": " ".join(words), "option": name, "value": value, "from": origin}


def _text(path: Path, rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"file: {path}{'' if path.is_file() else f' (not there; {VARIABLE} can name another)'}"
    if not rows:
        yield "nothing but built-in defaults applies; topa config VERB shows them"
    for heading, lines in _paragraphs(rows).items():
        yield f"\n{heading}"
        for option, value, origin in lines:
            yield f"  --{option:<16} {_shown(value):<24} {origin}".rstrip()


def _paragraphs(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, Any, str]]]:
    """The rows below their verb; what several verbs have from one place stands once."""
    lines = [(row["option"], row["value"], row["from"]) for row in rows]
    paragraphs: dict[str, list[tuple[str, Any, str]]] = {}
    for row, line in zip(rows, lines, strict=True):
        several = lines.count(line) > 1 and line[2] not in (BUILT_IN, REQUIRED)
        paragraph = paragraphs.setdefault("all verbs that have it" if several else f"topa {row['verb']}", [])
        if line not in paragraph:
            paragraph.append(line)
    return paragraphs


def _shown(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
