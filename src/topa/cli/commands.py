"""Commands made of verbs: every field of a verb's config becomes an option or an argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Annotated, Any, get_args

import typer
from rich.console import Console, RenderableType
from typer.core import TyperCommand

from ..core.choices import FLAG, spread
from ..core.printable import Hint, Note, Printable
from ..core.shared_options import SharedConfig
from ..core.verbosity import hint, note
from ..core.verbs import VerbOption, help_of, options_of
from .verbs import Switch, Verb

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
_JSON = "as_json"
_TABLE = 112  # columns that the widest table needs


class ChoiceCommand(TyperCommand):
    """A command that spreads the words behind a `--choice` where it has one; its arguments are all needed then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command."""
        valued = {name for one in self.params if not getattr(one, "is_flag", False) for name in one.opts}
        if FLAG in valued and not ctx.resilient_parsing:  # a shell completes what isn't whole yet
            args = spread(args, valued, f"topa {ctx.info_name}")
        return list(super().parse_args(ctx, args))


def add(verb: Verb, group: typer.Typer) -> None:
    """Add a verb to a group of commands."""
    text, examples = help_of(verb.config)
    name = verb.words.split()[-1]
    epilog = "\n\n".join(examples)
    group.command(name, cls=ChoiceCommand, help=text, epilog=epilog, hidden=bool(verb.now))(_callback(verb))


def show(result: Printable | None, *, as_json: bool) -> None:
    """Print what a verb gave, if it did, and raise what made it fail all the same."""
    if result is not None:
        for line in result.printed(as_json=as_json):
            _PRINTERS.get(type(line), _print_table)(line)


def _print_table(table: RenderableType) -> None:
    console = Console()
    console.width = max(console.width, _TABLE)
    console.print(table)


_PRINTERS: dict[type, Callable[[Any], None]] = {str: typer.echo, Note: note, Hint: hint}


def _callback(verb: Verb) -> Callable[..., None]:
    """The function that typer reads a command's options from, and calls with their values."""

    def call(**given: Any) -> None:
        if verb.now:
            note(f"warning: {verb.words} is now called {verb.now}; the old name goes with the next release")
        shown = partial(show, as_json=given[_JSON])
        chosen = next((switch for switch in verb.switches if given[switch.name]), verb)
        config = [] if chosen.alone else [verb.config.of(verb.words, given)]
        function = resolve_name(chosen.run)  # not before the config: it may load torch
        shown(function(*config, **({"show": shown} if verb.shows else {})))

    needed = not any(switch.alone for switch in verb.switches)
    own = [_parameter(option, needed=needed) for option in options_of(verb.config)]
    switches = [_keyword(switch.name, _flag(switch), False) for switch in verb.switches]
    return declared(call, [*own, *switches, _keyword(_JSON, Json, False)])


def declared(function: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """A function of any keywords as one of these, which typer reads."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    return function


def shared_parameters(callback: Callable[..., Any]) -> list[inspect.Parameter]:
    """The options that all verbs share, and the context, for the root. callback: of each option but --version."""
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    return [context, *(_parameter(one, needed=True, callback=callback) for one in options_of(SharedConfig))]


def _parameter(option: VerbOption, *, needed: bool, **more: Any) -> inspect.Parameter:
    """What typer makes an option or an argument of. needed: whether what has no default must be typed."""
    more |= {name: option.how.get(name) for name in ("help", "metavar", "min", "max")}
    more |= {"parser": option.how.get("parse"), "autocompletion": option.complete}
    flags = [option.flag, *option.how.get("short", ())]
    made = typer.Argument(**{**more, "metavar": option.place}) if option.is_argument else typer.Option(*flags, **more)
    default = inspect.Parameter.empty if option.required and needed else option.initial
    return _keyword(option.name, Annotated[_kind(option) | None, made], default)


def _kind(option: VerbOption) -> Any:
    """What typer reads a value as; the config says itself which of a few texts it may be."""
    if option.several:
        return list[get_args(option.kind)[0]]  # type: ignore[misc]
    return str if option.values else option.kind


def _flag(switch: Switch) -> Any:
    return Annotated[bool, typer.Option(f"--{switch.name.replace('_', '-')}", help=switch.help)]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
