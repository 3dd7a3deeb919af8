"""How much is said beside the results: by topa, and by the libraries that it stands on.

Libraries talk in four ways: Python's warnings, Python's logging, loggers of their own, and progress bars. This module
alone switches them. Only the command line does so; `import topa` changes nothing in the process that imports it.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from .command import in_this_shell
from .progress import console

Verbosity = Literal["quiet", "normal", "verbose"]

_SILENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # transformers' bars, too
    "HF_HUB_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TORCH_LOGS": "-all",
}
"""What libraries, and the processes that are started, read from the environment; what is set there already stays."""
_LEVELS = {"quiet": logging.ERROR, "normal": logging.WARNING, "verbose": logging.INFO}
_level: Verbosity = "normal"


@contextmanager
def session() -> Iterator[None]:
    """A stretch of time in which `set_verbosity` decides; afterwards everything is as it was before."""
    root, own = logging.getLogger(), logging.getLogger("topa")
    environment = {name: os.environ.get(name) for name in _SILENT}
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in (root, own)]
    silenced = console.quiet
    with warnings.catch_warnings():
        try:
            set_verbosity("normal")
            yield
        finally:
            for logger, handlers, level, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
                logger.setLevel(level)
            for name, value in environment.items():
                _set_variable(name, value)
            console.quiet = silenced


def set_verbosity(level: Verbosity) -> None:
    """Set how much is said.

    quiet: results and errors. normal: also notes and progress. verbose: also what libraries say, how long things took,
    and where they were loaded from. What `python -W`, PYTHONWARNINGS or a library's own variable ask for is done in any
    case.
    """
    global _level
    _level = level
    loud = level == "verbose"
    console.quiet = level == "quiet"
    if not sys.warnoptions:
        warnings.simplefilter("default" if loud else "ignore")
    for name, value in _SILENT.items():
        if loud and os.environ.get(name) == value:
            _set_variable(name, None)
        elif not loud:
            os.environ.setdefault(name, value)
    root, own = logging.getLogger(), logging.getLogger("topa")
    root.handlers = [_handler(logging.WARNING) if loud else logging.NullHandler()]
    own.handlers = [_handler(_LEVELS[level])]
    own.setLevel(_LEVELS[level])
    own.propagate = False
    silence_bars()


def silence_bars() -> None:
    """The same for transformers' progress bars, of which it draws one for every file, where it is loaded already."""
    if "transformers" in sys.modules and _level != "verbose":
        from transformers.utils import logging as theirs

        theirs.disable_progress_bar()


def note(text: str) -> None:
    """Print what is good to know, on stderr; not where only results are asked for."""
    if _level != "quiet":
        print(in_this_shell(text), file=sys.stderr, flush=True)


def hint(text: str) -> None:
    """Print what can be done next, on stdout below the results; not where only these are asked for."""
    if _level != "quiet":
        print(in_this_shell(text), flush=True)


def _handler(level: int) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    return handler


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
