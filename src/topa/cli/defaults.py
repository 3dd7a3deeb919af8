"""`topa.toml` in the working folder: defaults for any option of any verb.

    [defaults]            # of all verbs that have the option
    device = "cpu"

    [ask]
    model = "my-model"
    choice = ["red", "blue"]

    [memory.build]
    rows = 100000

What is typed wins over the environment, and this over the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import typer

from ..core.errors import InputError, UsageError
from ..core.registry import unknown
from .options import COMMON, is_always_typed, is_common, options_of, verbs_of

FILE = "topa.toml"
VARIABLE = "TOPA_CONFIG"
ALL = "defaults"
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"\s*([\w\"'-]+)\s*=")
_FOLDERS_OR_IDS = ("model", "llm", "encoder", "recipe", "backbone")


@dataclass(frozen=True, slots=True)
class Default:
    """A value for an option, as the parser takes it, and the line of the file that gives it."""

    value: Any
    line: int | None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a file gives to the verbs. path: None where there is no file."""

    path: Path | None = None
    verbs: Mapping[tuple[str, ...], Mapping[str, Default]] = field(default_factory=dict)

    def as_map(self, root: Any) -> dict[str, Any]:
        """The same as click reads it: nested by the words of verbs, with the names of parameters."""
        nested: dict[str, Any] = {}
        for words, command in verbs_of(root):
            inner = nested
            for word in words:
                inner = inner.setdefault(word, {})
            options = options_of(command)
            inner.update({options[name].name: default.value for name, default in self.verbs.get(words, {}).items()})
        return nested

    def names(self, verb: str) -> list[str]:
        """The options that the file gives to a verb, or to the verbs of a group, as they are typed."""
        return [f"--{name}" for words, given in self.verbs.items() if words[0] == verb for name in given]


def place() -> Path:
    """The file that is looked for: $TOPA_CONFIG, or topa.toml in the working folder."""
    return Path(os.environ.get(VARIABLE) or FILE)


def read_defaults(root: Any) -> Defaults:
    """The defaults for the verbs below a command; none where there is no file.

    Raises InputError for a file that can't be read, UsageError for a verb, an option or a value that can't be meant.
    """
    path = place()
    if not path.is_file() and not os.environ.get(VARIABLE):
        return Defaults()
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
    return _Reader(path, text, dict(verbs_of(root))).read(tables)


class _Reader:
    """One file, while it is checked."""

    def __init__(self, path: Path, text: str, verbs: Mapping[tuple[str, ...], Any]) -> None:
        self._path = path
        self._text = text
        self._verbs = verbs

    def read(self, tables: dict[str, Any]) -> Defaults:
        """All that the file gives, for each verb."""
        common = list(self._common(tables.pop(ALL, {})))
        read: dict[tuple[str, ...], dict[str, Default]] = {words: {} for words in self._verbs}
        for words, table in self._tables((), tables):
            for name, value in self._options(words, table):
                read[words][name] = self._default(words, name, value, words)
        for words, command in self._verbs.items():
            for name, value in common:
                if is_common(words, name) and name in options_of(command) and name not in read[words]:
                    read[words][name] = self._default(words, name, value, (ALL,))
        return Defaults(self._path, {words: given for words, given in read.items() if given})

    def _tables(
        self, above: tuple[str, ...], tables: dict[str, Any]
    ) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
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

    def _options(self, words: tuple[str, ...], table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """The options of a verb, by their long names."""
        options = options_of(self._verbs[words])
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

    def _default(self, words: tuple[str, ...], name: str, value: Any, table: tuple[str, ...]) -> Default:
        """The value of an option, checked as if it had been typed."""
        command = self._verbs[words]
        option = options_of(command)[name]
        given = self._as_typed(command, option, name, value, table)
        if option.callback is None:  # those with one take effect when they are read
            context = command.make_context(words[-1], [], resilient_parsing=True)
            try:
                option.process_value(context, given)
            except typer.BadParameter as error:
                self._refuse(table, name, f"--{name}: {error.message}")
        return Default(given, self._line(table, name))

    def _as_typed(self, command: Any, option: Any, name: str, value: Any, table: tuple[str, ...]) -> Any:
        """What the command line would give: a text, a list of texts, or whether a flag is set."""
        if option.is_flag:
            if not isinstance(value, bool):
                self._refuse(table, name, f"--{name}: found {value!r}; expected true or false.")
            return value
        several = value if isinstance(value, list) and option.multiple else [value]
        for one in several:
            if isinstance(one, bool) or not isinstance(one, str | int | float):
                expected = "a list of texts or numbers" if option.multiple else "one text or number"
                self._refuse(table, name, f"--{name}: found {one!r}; expected {expected}.")
        texts = [self._from_folder(command, option, name, str(one)) for one in several]
        return texts if option.multiple else texts[0]

    def _from_folder(self, command: Any, option: Any, name: str, text: str) -> str:
        """A path seen from the working folder: in the file it begins in the file's folder, or at home (~)."""
        if text.startswith("~"):
            return str(Path(text).expanduser())
        there = self._path.parent / text
        is_path = "Path" in str(get_type_hints(command.callback).get(option.name))
        is_name = name in _FOLDERS_OR_IDS and (there.exists() or text.startswith("."))
        return str(there) if is_path or is_name else text

    def _refuse(self, table: tuple[str, ...], key: str, why: str) -> NoReturn:
        line = self._line(table, key)
        raise UsageError(f"{self._path}{'' if line is None else f', line {line}'}: {why}")

    def _line(self, table: tuple[str, ...], key: str) -> int | None:
        """Where a key of a table stands, or the table of that name; None where it can't be told line by line."""
        key = key.replace("-", "_")
        inside: tuple[str, ...] = ()
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := _HEADER.match(line):
                inside = tuple(word.strip(" \t\"'") for word in header[1].split("."))
                if inside[: len(table) + 1] == (*table, key):
                    return number
            elif (pair := _KEY.match(line)) and inside == table and pair[1].strip("\"'").replace("-", "_") == key:
                return number
        return None
