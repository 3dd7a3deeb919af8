"""The verbs of the command line and their options, as data: for the file of defaults, and for `topa config`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

import typer

from ..core.defaults import Defaults, KnownOption, Verbs, Words


def verbs_of(group: Any, words: Words = ()) -> Iterator[tuple[Words, Any]]:
    """Every verb with the words that name it: ("ask",), ("memory", "build")."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs_of(command, (*words, name))
        else:
            yield (*words, name), command


def options_of(command: Any) -> dict[str, Any]:
    """The options of a verb by their long names, without dashes."""
    options = [each for each in command.params if each.param_type_name == "option"]
    return {max(each.opts, key=len).lstrip("-"): each for each in options}


def known_options(root: Any) -> Verbs:
    """The options of all verbs, but those that the help doesn't show."""
    return {
        words: {name: _known(command, option) for name, option in options_of(command).items() if not option.hidden}
        for words, command in verbs_of(root)
    }


def as_map(defaults: Defaults, root: Any) -> dict[str, Any]:
    """Defaults as click reads them: nested by the words of verbs, with the names of parameters."""
    nested: dict[str, Any] = {}
    for words, command in verbs_of(root):
        inner = nested
        for word in words:
            inner = inner.setdefault(word, {})
        given, options = defaults.verbs.get(words, {}), options_of(command)
        inner.update({options[name].name: default.value for name, default in given.items()})
    return nested


def _known(command: Any, option: Any) -> KnownOption:
    def check(value: Any) -> None:
        context = command.make_context("", [], resilient_parsing=True)
        try:
            option.process_value(context, value)
        except typer.BadParameter as error:
            raise ValueError(error.message) from error

    return KnownOption(
        built_in=option.default,
        required=option.required,
        is_flag=option.is_flag,
        several=option.multiple,
        is_path="Path" in str(get_type_hints(command.callback).get(option.name)),
        shared=option.callback is not None,
        check=bool if option.callback else check,  # those with a callback take effect when they are read
    )
