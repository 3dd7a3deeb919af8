"""`run.json`: which run a folder holds, so that no other goes on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.artifacts import write_atomically
from ..core.command import command
from ..core.errors import ArtifactError, UsageError
from ..core.progress import console
from .config import TrainConfig

RUN = "run.json"
RESULT = "result.json"
_NO_MATTER = {"checkpoint_minutes"}  # of no influence on the weights
_ROUNDING = {"processes", "pass_tokens", "checkpointing", "compiled", "sharded"}  # equal but for rounding


def open_run(
    folder: Path,
    kind: str,
    steps: int,
    config: TrainConfig,
    facts: Mapping[str, Any],
    *,
    accept_changes: bool,
) -> None:
    """Write `run.json`, or compare with the one that is there.

    facts: what beside the configuration identifies the run. Settings that change nothing but rounding may change,
    which is printed. Raises UsageError that shows what differs unless `accept_changes`, ArtifactError for a damaged
    file.
    """
    path = folder / RUN
    now = {"kind": kind, "settings": config.model_dump(mode="json"), **facts}
    if not path.is_file():
        started = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, {**now, "steps": steps, "started": started, "command": command()})
        return
    before, changed = _changes(path, now)
    if rounding := [text for key, text in changed.items() if key in _ROUNDING]:
        console.print(f"going on with {'; '.join(rounding)}: results are the same but for rounding")
    if matter := _matter(changed):
        if not accept_changes:
            raise _other(folder, matter)
        console.print(f"going on with other settings: {'; '.join(matter)}", style="yellow")
    if changed:
        history = [*before.get("changes", []), sorted(changed.values())]
        _write(path, {**before, **now, "steps": steps, "changes": history})


def expect_run(folder: Path, kind: str, config: TrainConfig, *, accept_changes: bool) -> None:
    """Refuse early what `open_run` will refuse by its settings, before anything is encoded or loaded."""
    path = folder / RUN
    if not accept_changes and path.is_file():
        _, changed = _changes(path, {"kind": kind, "settings": config.model_dump(mode="json")})
        if matter := _matter(changed):
            raise _other(folder, matter)


def _changes(path: Path, now: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the contents of a file, and what differs now, by name. now: "settings", and more beside them."""
    names = [name for name in now if name != "settings"]
    try:
        stored = json.loads(path.read_bytes())
        before = {**stored["settings"], **{key: stored[key] for key in names}}
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(
            f"{path}: found no settings of a run ({error!r}); expected JSON. Name another folder with --out."
        ) from error
    flat = {**now["settings"], **{key: now[key] for key in names}}
    return stored, {k: f"{k}: {before.get(k)!r} then, {v!r} now" for k, v in flat.items() if before.get(k) != v}


def _matter(changed: Mapping[str, str]) -> list[str]:
    return [text for key, text in changed.items() if key not in _ROUNDING | _NO_MATTER]


def _other(folder: Path, matter: Sequence[str]) -> UsageError:
    return UsageError(
        f"{folder}: holds a run with other settings ({'; '.join(matter)}). Name another folder with --out, or go on "
        "with the new settings: --accept-changes"
    )


def _write(path: Path, record: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(record, indent=1) + "\n")
