"""Options that all verbs share, before the verb and behind it: `topa -q ask ...` and `topa ask ... -q`.

They are declared once, for the root; `dress` gives every verb the same ones, and every option its variable.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import typer

from ..core.devices import choose_device
from ..core.errors import UsageError
from ..core.verbosity import Verbosity, set_verbosity
from .defaults import Defaults
from .options import is_always_typed, options_of, variable, verbs_of

_TALK = ("verbose", "quiet", "debug")
_RUN_MODELS = frozenset({
    "accustom", "adapt", "align", "ask", "caption", "demo", "encode", "evaluate", "explain", "finetune", "generate",
    "index", "reproduce", "search", "serve", "when",
})  # fmt: skip
"""Verbs that a model computes in."""
_RANKS = {"DEFAULT_MAP": 1, "ENVIRONMENT": 2, "COMMANDLINE": 3}


class SharedOptions:
    """What was asked for by the options that all verbs share, wherever they stood.

    The command line wins over the environment, and this over the file of defaults; of two places on the command line,
    the one behind the verb wins.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, with what holds where nothing is asked for."""
        self.verb = ""
        self.defaults = Defaults()
        self.debug = False
        self.began: float | None = None
        self._level: Verbosity = "normal"
        self._ranks: dict[str, int] = {}

    def take(self, ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
        """Act on an option, once it has been read: the callback of all of them."""
        name = str(param.name)
        source: Any = ctx.get_parameter_source(name)
        rank = 0 if source is None else _RANKS.get(source.name, 0)
        if not rank or ctx.resilient_parsing:
            return value
        if name == "device":
            if rank >= self._ranks.get(name, 0):
                self._ranks[name] = rank
                choose_device(value)
        elif value:
            self._talk(name, rank)
        return value

    def _talk(self, name: str, rank: int) -> None:
        level: Verbosity = "quiet" if name == "quiet" else "verbose"
        before = self._ranks.get("level", 0)
        if rank == before and level != self._level:
            raise UsageError("--quiet excludes --verbose and --debug. Give one of them.")
        if rank >= before:
            self._ranks["level"] = rank
            self._level = level
            self.debug = self.debug or name == "debug"
            set_verbosity(level)


def dress(root: Any) -> None:
    """Give every verb the shared options, and every option the variable of the environment that sets it."""
    shared = {name: option for name, option in options_of(root).items() if name in (*_TALK, "device")}
    for name, option in shared.items():
        _name_variable(option, (), name)
    for words, command in verbs_of(root):
        for name in (*(("device",) if words[0] in _RUN_MODELS else ()), *_TALK):
            option = copy(shared[name])
            option.expose_value = False  # the callback has it all
            command.params.append(option)
        for name, option in options_of(command).items():
            if not is_always_typed(name):
                _name_variable(option, words, name)


def _name_variable(option: Any, words: tuple[str, ...], name: str) -> None:
    option.envvar = variable(words, name)
    option.show_envvar = False  # a hundred of them would hide the help
