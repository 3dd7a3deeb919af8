"""A user's own prompt file: declarations in TOML, and the prompt's text.

    +++
    options = 4

    [kinds]
    hazard = "what could hurt somebody, and where"
    ppe = "protective equipment that is worn or missing"
    +++
    Write a video about safety in a factory. It shows: {seed}
    ...

The declarations, between two lines of plus signs, are optional.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.registry import unknown

SLOT = "{seed}"
FENCE = "+++"
DECLARE = (
    f'Declare your own kinds at the top of the prompt file, as TOML between two lines {FENCE}: kinds = ["hazard", '
    '"rule"], or a table [kinds] with a line such as hazard = "what could hurt somebody" for each.'
)
"""Advice in errors about undeclared kinds."""
_OPTIONS = (2, 10)  # options have letters, A to J
_MAX_KINDS = 20
_MAX_DESCRIPTION = 200
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_EXAMPLE = re.compile(r'"kind"\s*:\s*"([^"]*)"')
_PLACEHOLDERS = ("kind", "str", "string", "text")  # type descriptions in place of a kind
_OTHER_FORM = re.compile(r"(---[ \t]*\n((?!---)[^\n]*\n)*?)?kinds?\s*[:=]")  # declarations as YAML, or without fences


@dataclass(frozen=True)
class ReplyForm:
    """The schema of a reply's questions. kinds: (name, description) pairs, the description may be "". options: number
    of options per question."""

    kinds: tuple[tuple[str, str], ...] = (
        ("descriptive", "what is there, how it looks"),
        ("temporal", "what comes before, after, first or last"),
        ("causal", "why or how something happens"),
        ("counting", "how many, how often"),
        ("intention", "what somebody wants to reach"),
    )
    options: int = 5

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kinds."""
        return tuple(name for name, _ in self.kinds)


DEFAULT_FORM = ReplyForm()
"""The form of replies to topa's own prompt."""


def read_prompt(path: Path) -> tuple[str, ReplyForm]:
    """Read a prompt file; return its text and the form of its replies.

    Raises InputError, with the line, if the file can't be read, lacks the slot for the seed, has invalid declarations,
    or shows the writer an undeclared kind.
    """
    try:
        whole = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read as text ({error}). Give a UTF-8 text file with --prompt.") from error
    first, _, rest = whole.partition("\n")
    text, form = whole, DEFAULT_FORM
    if first.strip() == FENCE:
        header, text = _divide(path, rest)
        form = _read_form(path, header)
    elif _OTHER_FORM.match(whole):
        raise InputError(f"{path}:1: found {first.strip()[:80]!r}, which declares nothing. {DECLARE}")
    if SLOT not in text:
        raise InputError(
            f"{path}: found no {SLOT}; expected it where the text of each seed goes. Add it to the prompt."
        )
    _check_examples(path, whole, text, form)
    return text, form


def _divide(path: Path, rest: str) -> tuple[str, str]:
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        if line.strip() == FENCE:
            return "\n".join(lines[:number]), "\n".join(lines[number + 1 :])
    raise InputError(f"{path}:1: found a line {FENCE} and no second one; expected it where the declarations end.")


def _read_form(path: Path, header: str) -> ReplyForm:
    try:
        declarations = tomllib.loads("\n" + header)  # the newline makes line numbers those of the file
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = line[1] if line else header.count("\n") + 2
        raise InputError(f"{path}:{where}: can't be read as TOML ({error}). {DECLARE}") from error

    def wrong(word: str, problem: str) -> InputError:
        return InputError(f"{path}:{_line_of(header, word)}: {problem}")

    for key in declarations:
        if key not in ("kinds", "options"):
            raise wrong(key, str(unknown("declaration", key, ("kinds", "options"))))
    options = declarations.get("options", DEFAULT_FORM.options)
    smallest, largest = _OPTIONS
    if not isinstance(options, int) or isinstance(options, bool) or not smallest <= options <= largest:
        raise wrong("options", f"options: found {options!r}; expected a number from {smallest} to {largest}.")
    if "kinds" not in declarations:
        return ReplyForm(DEFAULT_FORM.kinds, options)
    kinds = _kind_list(declarations["kinds"])
    if kinds is None or not 1 <= len(kinds) <= _MAX_KINDS:
        raise wrong(
            "kinds", f"kinds: found {_short(declarations['kinds'])}; expected 1 to {_MAX_KINDS} names. {DECLARE}"
        )
    names = set()
    for name, about in kinds:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise wrong(
                str(name),
                f"kinds: found {_short(name)}; expected a word of at most 40 lowercase letters (a to z), digits, _ and "
                "-, that begins with a letter.",
            )
        if name in names:
            raise wrong(name, f"kinds: {name} is there twice. Leave one out.")
        if not isinstance(about, str) or len(about) > _MAX_DESCRIPTION or "\n" in about:
            raise wrong(
                name,
                f"kinds: {name}: found {_short(about)}; expected one line of at most {_MAX_DESCRIPTION} characters.",
            )
        names.add(name)
    return ReplyForm(tuple((name, about.strip()) for name, about in kinds), options)


def _kind_list(kinds: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(kinds, Mapping):
        return list(kinds.items())
    return [(name, "") for name in kinds] if isinstance(kinds, list) else None


def _check_examples(path: Path, whole: str, text: str, form: ReplyForm) -> None:
    """Refuse a prompt that shows the writer an undeclared kind in an example: it would use it, and every such reply
    would be paid for in vain. text: the end of the `whole` file."""
    for example in _EXAMPLE.finditer(text):
        name = example[1]
        if _NAME.fullmatch(name) and name not in form.names and name not in _PLACEHOLDERS:
            line = whole[: len(whole) - len(text) + example.start()].count("\n") + 1
            raise InputError(
                f"{path}:{line}: found a question of the kind {name!r}; expected {', '.join(form.names)}. Replies with "
                f"other kinds would be rejected, and paid for. {DECLARE}"
            )


def _line_of(header: str, word: str) -> int:
    """Return the number of the first line of the header that contains a word."""
    for number, line in enumerate(header.split("\n"), start=2):
        if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", line.partition("#")[0]):
            return number
    return 1


def _short(value: Any) -> str:
    return repr(value)[:80]
