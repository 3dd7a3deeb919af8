"""What all verbs share: the app, its options, and how errors end.

Heavy imports happen inside the verbs, so that `topa --help` is instant.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ..core.errors import TopaError

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

memory = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Build a memory of captions, and look into one.")
app.add_typer(memory, name="memory", epilog="Example:  topa memory build --help")

_state = {"debug": False}
STOPPED = 130  # typer's exit code after Ctrl-C, about which it says nothing
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        from ..core.artifacts import own_version

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


def quiet() -> None:
    """Our own progress is enough; transformers would draw a bar for every file it reads."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def main() -> None:
    """Entry point: deliberate errors become one paragraph on stderr and an exit code."""
    # Threads that wait for each other sleep instead of spinning: beside other work they would take each other's time,
    # and a run then takes more than twice as long (docs/log.md). OpenMP reads it when torch is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(prog_name="topa")
    except TopaError as error:
        if _state["debug"]:
            raise
        typer.echo(f"topa: {error}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == STOPPED:
            typer.echo("topa: stopped; run the same command again to go on", err=True)
        raise
