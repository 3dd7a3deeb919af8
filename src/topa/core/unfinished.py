"""What a killed process was writing: `atomic_file` writes beside a file's place, under its name with a dot before it
and letters of `tempfile` behind it."""

from __future__ import annotations

import re
from pathlib import Path

SHARDS = r"features-\d{5,}\.safetensors"
"""Files of a feature store, as a pattern."""


def remove_unfinished(folder: Path, *names: str) -> None:
    """Remove from a folder of ours what was to become one of these files; a user's own hidden files stay.

    names: regular expressions.
    """
    ours = re.compile(rf"\.({'|'.join(names)})\.[a-z0-9_]{{8}}")
    for path in folder.iterdir():
        if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)
