"""What was typed, for those who want to do it again."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command() -> str | None:
    """The command line, where topa was started from one."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return shlex.join(["topa", *words[1:]]) if words[0] in ("topa", "__main__.py") else None
