"""What all verbs share: the app, its options, and how errors end.

Heavy imports happen inside the verbs, so that `topa --help` is instant.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Any, NoReturn

import typer

from ..core.command import in_this_shell, program
from ..core.defaults import read_defaults
from ..core.devices import restored_device
from ..core.errors import TopaError, UsageError
from ..core.verbosity import note, session
from ..core.versions import versions
from .commands import add, declared, shared_parameters
from .groups import SUBGROUPS, GroupedHelp
from .options import as_map, known_options
from .shared import dress, shared, take
from .verbs import VERBS

app = typer.Typer(
    cls=GroupedHelp,
    no_args_is_help=True,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Eyes for a frozen language model, without showing it a single video.",
    epilog="Start here:  topa demo",
)

typers = {}
for name, (about, example) in SUBGROUPS.items():
    typers[name] = typer.Typer(cls=GroupedHelp, no_args_is_help=True, rich_markup_mode=None, help=about)
    app.add_typer(typers[name], name=name, epilog=f"Example:  {example}")
for verb in VERBS:
    add(verb, typers.get(verb.words.split()[0], app))
STOPPED = 130  # typer's exit code after Ctrl-C, about which it says nothing


def _common(context: typer.Context, *, verbose: bool, version: bool, **_: Any) -> None:
    """Begin a command: the callback of the root."""
    if version:
        typer.echo("\n".join(versions(everything=verbose)))
        raise typer.Exit
    helps = bool({"-h", "--help"} & set(sys.argv))  # help is there for those whose file is wrong, too
    shared.begin(context.invoked_subcommand, read_defaults(known_options(context.command), or_none=helps))
    context.default_map = as_map(shared.defaults, context.command)


app.callback()(declared(_common, shared_parameters(take)))


def _write_any_text() -> None:
    """Let what the terminal has no letter for be written as an escape: answers and names of files may hold anything,
    and consoles of Windows know few letters."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
    # Threads that wait for each other sleep instead of spinning: beside other work they would take each other's time,
    # and a run then takes more than twice as long (docs/log.md). OpenMP reads it when torch is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _write_any_text()
    root: Any = typer.main.get_command(app)
    root.context_class = ShellContext
    _adapt_examples(root)
    dress(root)
    shared.forget()
    with session(), restored_device():
        try:
            root(prog_name="topa")
        except TopaError as error:
            _end(error)
        except SystemExit as ended:
            if ended.code == STOPPED:
                typer.echo("topa: stopped; run the same command again to go on", err=True)
            raise
        finally:
            shared.end()


def _end(error: TopaError) -> NoReturn:
    """Say what went wrong, in a paragraph."""
    if shared.debug:
        raise error
    typer.echo(f"topa: {in_this_shell(str(error))}", err=True)
    if error.exit_code == UsageError.exit_code:
        for line in shared.origin():
            note(line)
    sys.exit(error.exit_code)
