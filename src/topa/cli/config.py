"""The verb that shows which defaults apply, and where they come from: config."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..core.registry import unknown
from .app import Json, app, shared
from .defaults import VARIABLE, place
from .options import is_always_typed, is_secret, options_of, variable, verbs_of

_BUILT_IN, _REQUIRED = "built in", "must be given"


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
    root: Any = context.find_root().command
    asked = tuple(verb or ())
    verbs = {words: command for words, command in verbs_of(root) if words[: len(asked)] == asked}
    if not verbs:
        known = {" ".join(words[:depth]) for words, _ in verbs_of(root) for depth in range(1, len(words) + 1)}
        raise unknown("verb", " ".join(asked), known)
    rows = [row for words, command in verbs.items() for row in _rows(words, command, everything=bool(asked))]
    path = place().absolute()
    if as_json:
        found = {"file": str(path), "exists": path.is_file(), "options": rows}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    typer.echo(f"file: {path}{'' if path.is_file() else f' (not there; {VARIABLE} can name another)'}")
    if not rows:
        typer.echo("nothing but built-in defaults applies; topa config VERB shows them")
    for heading, lines in _paragraphs(rows).items():
        typer.echo(f"\n{heading}")
        for option, value, origin in lines:
            typer.echo(f"  --{option:<16} {_shown(value):<24} {origin}".rstrip())


def _paragraphs(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, Any, str]]]:
    """The rows below their verb; what several verbs have from one place stands once."""
    lines = [(row["option"], row["value"], row["from"]) for row in rows]
    paragraphs: dict[str, list[tuple[str, Any, str]]] = {}
    for row, line in zip(rows, lines, strict=True):
        several = lines.count(line) > 1 and line[2] not in (_BUILT_IN, _REQUIRED)
        paragraph = paragraphs.setdefault("all verbs that have it" if several else f"topa {row['verb']}", [])
        if line not in paragraph:
            paragraph.append(line)
    return paragraphs


def _rows(words: tuple[str, ...], command: Any, *, everything: bool) -> Iterator[dict[str, Any]]:
    """The options of a verb with what applies; everything: also where that is built in."""
    given = shared.defaults.verbs.get(words, {})
    for name, option in options_of(command).items():
        if name in ("help", "version") or option.hidden:
            continue
        value, origin = option.default, _REQUIRED if option.required else _BUILT_IN
        if name in given:
            line = "" if given[name].line is None else f", line {given[name].line}"
            value, origin = given[name].value, f"{shared.defaults.path}{line}"
        names = [variable(words, name), *((variable((), name),) if option.callback else ())]
        for variable_name in names:
            if not is_always_typed(name) and os.environ.get(variable_name):
                value, origin = os.environ[variable_name], f"environment, {variable_name}"
                break
        if everything or origin not in (_BUILT_IN, _REQUIRED):
            secret = is_secret(name) and value is not None
            yield {
                "verb": " ".join(words),
                "option": name,
                "value": "(not shown)" if secret else _plain(value),
                "from": origin,
            }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list) else str(value)


def _shown(value: Any) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
