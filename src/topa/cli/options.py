"""The verbs of the command line and their options, as data: for the file of defaults, and for `topa config`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

COMMON = ("device", "model", "seed", "workers", "quiet", "verbose", "debug")
"""Options that mean the same in all verbs that have them."""
_OTHERS: dict[tuple[str, ...], set[str]] = {("generate",): {"model"}}  # the writer's name at an endpoint
_ALWAYS_TYPED = ("accept", "yes", "force", "key-env", "help", "version")
_SECRETS = {"key", "token", "secret", "password"}


def verbs_of(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
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


def is_common(words: tuple[str, ...], name: str) -> bool:
    """Whether an option of a verb means what it means in all others."""
    return name in COMMON and name not in _OTHERS.get(words, ())


def is_always_typed(name: str) -> bool:
    """Whether an option takes effect only where it is typed: one that sets a safeguard aside, or says which variable
    holds a key. Nobody should get these from a folder that they happen to work in."""
    return name.startswith(_ALWAYS_TYPED)


def is_secret(name: str) -> bool:
    """Whether an option's value is never shown."""
    return bool(_SECRETS & set(name.split("-")))


def variable(words: tuple[str, ...], name: str) -> str:
    """The variable of the environment that sets an option: TOPA_MEMORY_BUILD_ROWS."""
    return "_".join(("topa", *words, name)).replace("-", "_").upper()
