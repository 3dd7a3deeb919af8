"""Options that all verbs share, before the verb and behind it.

They are declared once, for the root; `dress` gives every verb the same ones, and every option its variable.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import typer

from ..core.defaults import Words, is_always_typed, variable
from ..core.shared_options import SharedOptions
from .options import options_of, verbs_of
from .verbs import VERBS

_TALK = ("verbose", "quiet", "debug")
_WITHOUT_MODELS = {tuple(verb.words.split()) for verb in VERBS if not verb.models} | {("config",)}
shared = SharedOptions()


def take(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Act on a shared option, once it has been read: the callback of all of them."""
    name = str(parameter.name)
    if not context.resilient_parsing:
        shared.take(name, value, getattr(context.get_parameter_source(name), "name", ""))
    return value


def dress(root: Any) -> None:
    """Give every verb the shared options, and every option the variable of the environment that sets it."""
    common = options_of(root)
    _name_variables({name: common[name] for name in (*_TALK, "device")}, ())
    for words, command in verbs_of(root):
        for name in _TALK if words in _WITHOUT_MODELS else ("device", *_TALK):
            option = copy(common[name])
            option.expose_value = False  # the callback has it all
            command.params.append(option)
        _name_variables(options_of(command), words)


def _name_variables(options: dict[str, Any], words: Words) -> None:
    for name in (name for name in options if not is_always_typed(name)):
        options[name].envvar = variable(words, name)
        options[name].show_envvar = False  # a hundred of them would hide the help
