"""How much topa and the libraries below it print besides results.

Libraries print through Python's warnings, Python's logging, loggers of their own, and progress bars. Only this module
switches them, and only the command line calls it: `import topa` changes nothing in the importing process.
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
"""Environment variables that libraries and child processes read; values that the user has set are kept."""
_LEVELS = {"quiet": logging.ERROR, "normal": logging.WARNING, "verbose": logging.INFO}
_level: Verbosity = "normal"


@contextmanager
def session() -> Iterator[None]:
    """Restore all verbosity settings when the block ends."""
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
    """Set how much is printed.

    quiet: results and errors. normal: also notes and progress. verbose: also the libraries' messages, timings, and
    where models are loaded from. `python -W`, PYTHONWARNINGS and the libraries' own variables take precedence.
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
    """Disable transformers' progress bars, one per file, if it is loaded and the level isn't verbose."""
    if "transformers" in sys.modules and _level != "verbose":
        from transformers.utils import logging as theirs

        theirs.disable_progress_bar()


def note(text: str) -> None:
    """Print a note on stderr, unless the level is quiet."""
    if _level != "quiet":
        print(in_this_shell(text), file=sys.stderr, flush=True)


def hint(text: str) -> None:
    """Print a suggestion for the next step on stdout, unless the level is quiet."""
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
