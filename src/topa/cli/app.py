"""What all verbs share: the app, its options, and how errors end.

Heavy imports happen inside the verbs, so that `topa --help` is instant.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ..core.command import in_this_shell, program
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


class ShellContext(typer.Context):
    """The context of the whole command: what it says to type can be typed in the reader's shell."""

    @property
    def command_path(self) -> str:
        """How the command was started; `info_name` stays `topa`, by which shells complete."""
        return program()


def _adapt_examples(command: Any) -> None:
    """The same for the examples below each help text, a line each: one that is wrapped can't be copied."""
    if command.epilog:
        examples = in_this_shell(command.epilog).split("\n\n")
        command.epilog = "\n\n".join(f"\b\n{example}" for example in examples)
    for verb in getattr(command, "commands", {}).values():
        _adapt_examples(verb)


def main() -> None:
    """Entry point: deliberate errors become one paragraph on stderr and an exit code."""
    root = typer.main.get_command(app)
    root.context_class = ShellContext
    _adapt_examples(root)
    try:
        root(prog_name="topa")
    except TopaError as error:
        if _state["debug"]:
            raise
        typer.echo(f"topa: {in_this_shell(str(error))}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == STOPPED:
            typer.echo("topa: stopped; run the same command again to go on", err=True)
        raise
