"""The command line: one subcommand per verb, no logic.

Heavy imports happen inside the verbs, so that `topa --help` is instant.
"""

# Each module registers its verbs; `groups` has the order of the help.
from . import config  # noqa: F401
from .app import app, main

__all__ = ["app", "main"]
