"""`topa.toml` in the working folder: defaults for any option of any verb.

    [defaults]            # of all verbs that have the option
    device = "cpu"

    [ask]
    model = "my-model"
    choice = ["red", "blue"]

    [memory.build]
    rows = 100000

What is typed wins over the environment, and this over the file. Nothing here knows how a command line is read.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from .errors import InputError, TopaError, UsageError
from .registry import unknown

FILE = "topa.toml"
VARIABLE = "TOPA_CONFIG"
ALL = "defaults"
COMMON = ("device", "model", "seed", "workers", "quiet", "verbose", "debug")
"""Options that mean the same in all verbs that have them."""
BUILT_IN, REQUIRED = "built in", "must be given"
_OTHERS: dict[tuple[str, ...], set[str]] = {("generate",): {"model"}}  # the writer's name at an endpoint
_ALWAYS_TYPED = ("accept", "yes", "force", "key-env", "help", "version")
_SECRETS = {"key", "token", "secret", "password"}
_FOLDERS_OR_IDS = ("model", "llm", "encoder", "recipe", "backbone")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"\s*([\w\"'-]+)\s*=")
Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownOption:
    """An option of a verb. built_in: its value where nobody gives one. shared: whether all verbs have it, beside their
    own. check: raises ValueError for a text, a list of texts, or a truth value that it can't take."""

    built_in: Any
    required: bool
    is_flag: bool
    several: bool
    is_path: bool
    shared: bool
    check: Callable[[Any], object]


Verbs = Mapping[Words, Mapping[str, KnownOption]]
"""The options of all verbs, by their long names without dashes."""


@dataclass(frozen=True, slots=True)
class Default:
    """A value for an option, as the parser takes it, and the line of the file that gives it."""

    value: Any
    line: int | None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a file gives to the verbs. path: None where there is no file."""

    path: Path | None = None
    verbs: Mapping[Words, Mapping[str, Default]] = field(default_factory=dict)

    def names(self, verb: str) -> list[str]:
        """The options that the file gives to a verb, or to the verbs of a group, as they are typed."""
        return [f"--{name}" for words, given in self.verbs.items() if words[0] == verb for name in given]

    def in_effect(self, words: Words, name: str, option: KnownOption) -> tuple[Any, str]:
        """What an option is where nothing is typed, and where that comes from. A secret is not given away."""
        value, origin = option.built_in, REQUIRED if option.required else BUILT_IN
        if (given := self.verbs.get(words, {}).get(name)) is not None:
            line = "" if given.line is None else f", line {given.line}"
            value, origin = given.value, f"{self.path}{line}"
        for variable_name in [variable((), name)] * option.shared + [variable(words, name)]:
            if not is_always_typed(name) and os.environ.get(variable_name):
                value, origin = os.environ[variable_name], f"environment, {variable_name}"
        return "(not shown)" if _SECRETS & set(name.split("-")) and value is not None else value, origin


def place() -> Path:
    """The file that is looked for: $TOPA_CONFIG, or topa.toml in the working folder."""
    return Path(os.environ.get(VARIABLE) or FILE)


def is_always_typed(name: str) -> bool:
    """Whether an option takes effect only where it is typed: one that sets a safeguard aside, or says which variable
    holds a key. Nobody should get these from a folder that they happen to work in."""
    return name.startswith(_ALWAYS_TYPED)


def variable(words: Words, name: str) -> str:
    """The variable of the environment that sets an option: TOPA_MEMORY_BUILD_ROWS."""
    return "_".join(("topa", *words, name)).replace("-", "_").upper()


def read_defaults(verbs: Verbs, *, or_none: bool = False) -> Defaults:
    """Read the defaults of verbs; there are none where there is no file, and with `or_none` where it is wrong.

    Raises InputError for a file that can't be read, UsageError for a verb, an option or a value that can't be meant.
    """
    path = place()
    if not path.is_file() and not os.environ.get(VARIABLE):
        return Defaults()
    try:
        return _read(path, verbs)
    except TopaError:
        if or_none:
            return Defaults()
        raise


def _read(path: Path, verbs: Verbs) -> Defaults:
    try:
        text = path.read_text(encoding="utf-8-sig")
        tables = tomllib.loads(text)
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}); expected a file of defaults, as {VARIABLE} names it. Correct "
            "the variable, or unset it."
        ) from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise InputError(
            f'{path}: is no TOML ({error}); expected lines such as model = "my-model" below a line [ask].'
        ) from error
    return _Reader(path, text, verbs).read(tables)


class _Reader:
    """One file, while it is checked."""

    def __init__(self, path: Path, text: str, verbs: Verbs) -> None:
        self._path = path
        self._text = text
        self._verbs = verbs

    def read(self, tables: dict[str, Any]) -> Defaults:
        """All that the file gives, for each verb."""
        common = list(self._common(tables.pop(ALL, {})))
        read: dict[Words, dict[str, Default]] = {words: {} for words in self._verbs}
        for words, table in self._tables((), tables):
            for name, value in self._options(words, table):
                read[words][name] = self._default(words, name, value, words)
        for words, options in self._verbs.items():
            for name, value in common:
                if name in options and name not in read[words] and name not in _OTHERS.get(words, ()):
                    read[words][name] = self._default(words, name, value, (ALL,))
        return Defaults(self._path, {words: given for words, given in read.items() if given})

    def _tables(self, above: Words, tables: dict[str, Any]) -> Iterator[tuple[Words, dict[str, Any]]]:
        """The tables of verbs, with the words of each."""
        depth = len(above)
        known = {words[depth] for words in self._verbs if words[:depth] == above}
        for name, table in tables.items():
            words = (*above, name)
            if name not in known:
                places = [".".join((*above, one)) for one in known] + ([] if above else [ALL])
                self._refuse(above, name, str(unknown("verb", ".".join(words), places)))
            if not isinstance(table, dict):
                self._refuse(above, name, f"found {table!r}; expected a line [{'.'.join(words)}] and options below it.")
            if words in self._verbs:
                yield words, table
            else:
                yield from self._tables(words, table)

    def _options(self, words: Words, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """The options of a verb, by their long names."""
        options = self._verbs[words]
        for key, value in table.items():
            name = key.replace("_", "-")
            if is_always_typed(name):
                self._refuse(words, key, f"--{name} takes effect only where it is typed. Take it out of the file.")
            if name not in options:
                known = [one for one in options if not is_always_typed(one)]
                self._refuse(words, key, str(unknown(f"option of {' '.join(words)}", name, known)))
            yield name, value

    def _common(self, table: Any) -> Iterator[tuple[str, Any]]:
        """The options of all verbs."""
        if not isinstance(table, dict):
            self._refuse((), ALL, f"found {table!r}; expected a line [{ALL}] and options below it.")
        for key, value in table.items():
            name = key.replace("_", "-")
            if name not in COMMON:
                why = f"{unknown('option of all verbs', name, COMMON)} Others stand below their verb, such as [ask]."
                self._refuse((ALL,), key, why)
            yield name, value

    def _default(self, words: Words, name: str, value: Any, table: Words) -> Default:
        """The value of an option, checked as if it had been typed."""
        option = self._verbs[words][name]
        given = self._as_typed(option, name, value, table)
        try:
            option.check(given)
        except ValueError as error:
            self._refuse(table, name, f"--{name}: {error}")
        return Default(given, self._line(table, name))

    def _as_typed(self, option: KnownOption, name: str, value: Any, table: Words) -> Any:
        """What the command line would give: a text, a list of texts, or whether a flag is set."""
        if option.is_flag:
            if not isinstance(value, bool):
                self._refuse(table, name, f"--{name}: found {value!r}; expected true or false.")
            return value
        several = value if isinstance(value, list) and option.several else [value]
        for one in several:
            if isinstance(one, bool) or not isinstance(one, str | int | float):
                expected = "a list of texts or numbers" if option.several else "one text or number"
                self._refuse(table, name, f"--{name}: found {one!r}; expected {expected}.")
        texts = [self._from_folder(option, name, str(one)) for one in several]
        return texts if option.several else texts[0]

    def _from_folder(self, option: KnownOption, name: str, text: str) -> str:
        """A path seen from the working folder: in the file it begins in the file's folder, or at home (~)."""
        if text.startswith("~"):
            return str(Path(text).expanduser())
        there = self._path.parent / text
        is_name = name in _FOLDERS_OR_IDS and (there.exists() or text.startswith("."))
        return str(there) if option.is_path or is_name else text

    def _refuse(self, table: Words, key: str, why: str) -> NoReturn:
        line = self._line(table, key)
        raise UsageError(f"{self._path}{'' if line is None else f', line {line}'}: {why}")

    def _line(self, table: Words, key: str) -> int | None:
        """Where a key of a table stands, or the table of that name; None where it can't be told line by line."""
        key = key.replace("-", "_")
        inside: Words = ()
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := _HEADER.match(line):
                inside = tuple(word.strip(" \t\"'") for word in header[1].split("."))
                if inside[: len(table) + 1] == (*table, key):
                    return number
            elif (pair := _KEY.match(line)) and inside == table and pair[1].strip("\"'").replace("-", "_") == key:
                return number
        return None
