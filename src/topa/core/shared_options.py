"""What the options that all verbs share ask for, wherever they stood: `topa -q ask ...` and `topa ask ... -q`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

from .defaults import Defaults
from .devices import choose_device
from .errors import UsageError
from .verbosity import Verbosity, note, set_verbosity
from .verbs import VerbConfig, option

_RANKS = {"DEFAULT_MAP": 1, "ENVIRONMENT": 2, "COMMANDLINE": 3}
log = logging.getLogger("topa")


class SharedConfig(VerbConfig):
    """The options that all verbs share, and `--version`."""

    verbose: bool = option(
        "Also what libraries say, where models come from, and how long it took.", short=("-v",), default=False
    )
    quiet: bool = option("Results and errors only: no progress and no notes.", short=("-q",), default=False)
    debug: bool = option("Show a traceback where something fails, and what -v does.", default=False)
    device: str = option(
        "Where models compute: auto (a GPU where there is one), cpu, cuda, cuda:1 or mps.",
        complete=lambda: ["auto", "cpu", "cuda", "mps"],
        default="auto",
    )
    version: bool = option("Print the version; with -v also Python's and the libraries'.", default=False)


class SharedOptions:
    """The state of a command. The command line wins over the environment, and this over the file of defaults; of two
    places on the command line, the one behind the verb wins."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, with what holds where nothing is asked for."""
        self.verb = ""
        self.defaults = Defaults()
        self.debug = False
        self._began: float | None = None
        self._level: Verbosity = "normal"
        self._ranks: dict[str, int] = {}

    def begin(self, verb: str | None, defaults: Defaults) -> None:
        """Note which verb was named, and say what the file of defaults gives to it. Raises UsageError without one."""
        if verb is None:
            raise UsageError("topa: found no verb; expected one, such as topa demo. topa --help shows them all.")
        self.verb, self.defaults, self._began = verb, defaults, time.perf_counter()
        used = defaults.names(verb)
        if used:
            log.info("%s gives %s", defaults.path, ", ".join(used))
        if verb == "generate" and "--base-url" in _not_typed(used):
            note(f"note: {defaults.path} says where requests and the key go: --base-url")

    def take(self, name: str, value: Any, source: str) -> None:
        """Act on an option. source: where its value is from, as click calls it."""
        rank = _RANKS.get(source, 0)
        key = "device" if name == "device" else "level"
        if name == "version" or not rank or not value or rank < self._ranks.get(key, 0):
            return
        if key == "level":
            level: Verbosity = "quiet" if name == "quiet" else "verbose"
            if rank == self._ranks.get(key) and level != self._level:
                raise UsageError("--quiet excludes --verbose and --debug. Give one of them.")
            self._level = level
            self.debug = self.debug or name == "debug"
            set_verbosity(level)
        else:
            choose_device(value)
        self._ranks[key] = rank

    def origin(self) -> Iterator[str]:
        """Say which options weren't typed but come from the file, for whoever wonders about an error."""
        if used := _not_typed(self.defaults.names(self.verb)):
            yield f"note: {self.defaults.path} gives {', '.join(used)}; topa config {self.verb} shows all"

    def end(self) -> None:
        """Say how long the verb took, where one was begun."""
        if self._began is not None:
            log.info("took %.1f s", time.perf_counter() - self._began)


def _not_typed(names: list[str]) -> list[str]:
    typed = {word.partition("=")[0] for word in sys.argv[1:]}
    return [name for name in names if name not in typed]
