"""What all verbs share: the app, its options, and how errors end.

Heavy imports happen inside the verbs, so that `topa --help` is instant.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from ..core.command import in_this_shell, program
from ..core.devices import restored_device
from ..core.errors import TopaError, UsageError
from ..core.verbosity import note, session
from .defaults import read_defaults
from .groups import GroupedHelp
from .shared import SharedOptions, dress

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

importer = typer.Typer(
    cls=GroupedHelp, no_args_is_help=True, rich_markup_mode=None, help="Bring in what others have made."
)
app.add_typer(importer, name="import", epilog="Example:  topa import checkpoint --help")

memory = typer.Typer(
    cls=GroupedHelp, no_args_is_help=True, rich_markup_mode=None, help="Build a memory of captions, and look into one."
)
app.add_typer(memory, name="memory", epilog="Example:  topa memory build --help")

log = logging.getLogger("topa")
shared = SharedOptions()
STOPPED = 130  # typer's exit code after Ctrl-C, about which it says nothing
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]


@app.callback()
def _common(
    context: typer.Context,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=shared.take,
            help="Also what libraries say, where models come from, and how long it took.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", callback=shared.take, help="Results and errors only: no progress and no notes."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", callback=shared.take, help="Show a traceback where something fails, and what -v does."),
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            callback=shared.take,
            autocompletion=lambda: ["auto", "cpu", "cuda", "mps"],
            help="Where models compute: auto (a GPU where there is one), cpu, cuda, cuda:1 or mps.",
        ),
    ] = "auto",
    version: Annotated[
        bool, typer.Option("--version", help="Print the version; with -v also Python's and the libraries'.")
    ] = False,
) -> None:
    if version:
        _print_versions(verbose)
        raise typer.Exit
    verb = context.invoked_subcommand
    if verb is None:
        raise UsageError("topa: found no verb; expected one, such as topa demo. topa --help shows them all.")
    try:
        shared.defaults = read_defaults(context.command)
    except TopaError:
        if not {"-h", "--help"} & set(sys.argv):  # help is there for those whose file is wrong, too
            raise
        return
    shared.began = time.perf_counter()
    context.default_map = shared.defaults.as_map(context.command)
    shared.verb = verb
    if used := shared.defaults.names(verb):
        log.info("%s gives %s", shared.defaults.path, ", ".join(used))
    if verb == "generate" and "--base-url" in _not_typed(used):
        note(f"note: {shared.defaults.path} says where requests and the key go: --base-url")


def _print_versions(verbose: bool) -> None:
    """Print the version of topa, and on demand of what decides its results; none of them is imported."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from ..core.artifacts import own_version

    typer.echo(f"topa {own_version()}")
    if not verbose:
        return
    typer.echo(f"python {platform.python_version()} ({platform.platform()})")
    for name in ("torch", "transformers", "av"):
        try:
            typer.echo(f"{name} {version(name)}")
        except PackageNotFoundError:
            typer.echo(f"{name} is not installed")


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
            if shared.debug:
                raise
            typer.echo(f"topa: {in_this_shell(str(error))}", err=True)
            if error.exit_code == UsageError.exit_code and (origin := _origin()):
                note(origin)
            sys.exit(error.exit_code)
        except SystemExit as ended:
            if ended.code == STOPPED:
                typer.echo("topa: stopped; run the same command again to go on", err=True)
            raise
        finally:
            if shared.began is not None:
                log.info("took %.1f s", time.perf_counter() - shared.began)


def _origin() -> str:
    """Which options weren't typed but come from the file, for whoever wonders about an error; nothing where none do."""
    used = _not_typed(shared.defaults.names(shared.verb))
    return f"note: {shared.defaults.path} gives {', '.join(used)}; topa config {shared.verb} shows all" if used else ""


def _not_typed(names: list[str]) -> list[str]:
    typed = {word.partition("=")[0] for word in sys.argv[1:]}
    return [name for name in names if name not in typed]
