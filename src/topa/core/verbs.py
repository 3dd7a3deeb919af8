"""The config of a verb: a frozen dataclass whose fields are declared once, with what the command line needs of them.

    class BuildConfig(VerbConfig):
        rows: int = option("Rows of the memory, at most.", min=1)
        seed: int = option("Seed of the draw.", default=0)

The function of the verb takes it as one value; `topa.cli` makes `--rows` and `--seed` of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, dataclass_transform, get_args, get_origin, get_type_hints

from .errors import UsageError
from .registry import unknown


def option(help: str, *, default: Any = MISSING, **how: Any) -> Any:
    """Declare a field that is given as `--name VALUE`; one of a `Literal` type is one of a few texts.

    flag: how it is spelled, where that isn't the field's name; short: one letter for it. metavar: what stands for the
    value in the help. min, max: of numbers. parse: makes the value of a text. complete: gives values for a shell to
    complete.
    """
    return field(default=default, metadata={"help": help, **how})


def argument(help: str, *, default: Any = MISSING, **how: Any) -> Any:
    """Declare a field that is given by its place. See `option`."""
    return option(help, default=default, is_argument=True, **how)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option, argument, field))
class VerbConfig:
    """Base of the configs of all verbs, and what makes them dataclasses. The docstring of a subclass is the help of
    its verb, with examples behind `Example:`."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def of(cls, verb: str, given: Mapping[str, Any]) -> VerbConfig:
        """Make a config of what was typed, by names of fields; None for what wasn't. Raises UsageError where something
        is missing."""
        values = {}
        for one in options_of(cls):
            value = given[one.name]
            if value is None and one.required:
                needed = " ".join(each.usage for each in options_of(cls) if each.required)
                raise UsageError(f"{verb}: found no {one.place}; expected: topa {verb} {needed}. --help shows more.")
            values[one.name] = tuple(value or ()) if one.several else value
        return cls(**values)

    def __post_init__(self) -> None:
        """Raise UsageError for a text that isn't one of those that there are."""
        for one in options_of(type(self)):
            value = getattr(self, one.name)
            if one.values and value is not None and value not in one.values:
                raise unknown(one.flag.lstrip("-").replace("-", " "), value, one.values)


class VerbOption:
    """A field of a config as the command line needs it. values: the texts that it may be, where these are a few."""

    def __init__(self, declared: Field[Any], kind: Any) -> None:
        self.name, self.kind, self.default = declared.name, kind, declared.default
        self.how = declared.metadata
        self.is_argument = "is_argument" in self.how
        self.flag = self.how.get("flag", f"--{self.name.replace('_', '-')}")
        self.place = self.how.get("metavar", self.name.upper()) if self.is_argument else self.flag
        self.usage = self.place if self.is_argument else f"{self.flag} {self.name.upper()}"
        self.required = self.default is MISSING
        self.several = get_origin(kind) is tuple
        literals = [one for one in (kind, *get_args(kind)) if get_origin(one) is Literal]
        self.values = [value for one in literals for value in get_args(one)]
        self.complete = (lambda: self.values) if self.values else self.how.get("complete")
        self.initial = None if self.required or self.several else self.default


def options_of(config: type[VerbConfig]) -> list[VerbOption]:
    """Return the options of a config, in their order. Fields that were not declared as one are for Python alone."""
    kinds = get_type_hints(config)
    return [VerbOption(one, kinds[one.name]) for one in fields(config) if one.metadata]  # type: ignore[arg-type]


def help_of(config: type[VerbConfig]) -> tuple[str, list[str]]:
    """Return the help of a verb, and the lines of its examples."""
    text, _, examples = inspect.cleandoc(config.__doc__ or "").partition("\n\nExample:")
    return text, f"Example:{examples}".splitlines()
