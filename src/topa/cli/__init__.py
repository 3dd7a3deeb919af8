"""The command line: one subcommand per verb, no logic.

Heavy imports happen inside the verbs, so that `topa --help` is instant. The order of the modules is that of the help.
"""

from . import use, serve, explain, index, search, data, encode, train, finetune, runs, evaluate, imports  # isort: skip  # noqa: F401
from .app import app, main

__all__ = ["app", "main"]
